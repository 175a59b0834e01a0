# Runs in the guest and sends files, in the lines that receive.ps1 takes; behind `:NAME` stands the file's size. `file` sends one file,
# `tree` a directory as the first name, or all that a pattern matches. Directories that are links are left out: they lead elsewhere, or round.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$out = [Console]::Out
function Get-Name($below) { [Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($below.Replace('\', '/'))) }
function Send-File($path, $below) {
  $file = [IO.File]::Open($path, 'Open', 'Read', 'ReadWrite')
  $hash = [Security.Cryptography.SHA256]::Create()
  $buffer = New-Object byte[] 98304
  $size = 0
  $out.WriteLine(':' + (Get-Name $below) + ' ' + $file.Length)
  while (($count = $file.Read($buffer, 0, $buffer.Length)) -gt 0) {
    $null = $hash.TransformBlock($buffer, 0, $count, $buffer, 0)
    $out.WriteLine([Convert]::ToBase64String($buffer, 0, $count))
    $size += $count
  }
  $file.Close()
  $null = $hash.TransformFinalBlock([byte[]]@(), 0, 0)
  $out.WriteLine("=$size " + [BitConverter]::ToString($hash.Hash).Replace('-', '').ToLower())
}
function Test-Own($item) { -not ($item.PSIsContainer -and ($item.Attributes -band [IO.FileAttributes]::ReparsePoint)) }
function Send-Item($item, $below) {
  if (-not $item.PSIsContainer) { Send-File $item.FullName $below; return }
  $out.WriteLine('@' + (Get-Name $below))
  Get-ChildItem -LiteralPath $item.FullName -Force | Where-Object { Test-Own $_ } | Sort-Object Name | ForEach-Object { Send-Item $_ ($below + '/' + $_.Name) }
}
try {
  $path = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath(<<ROOT>>)
  $kind = '<<KIND>>'
  if ($kind -eq 'pattern') {
    $found = @(Get-Item -Path $path | Where-Object { Test-Own $_ })
    if (-not $found) { throw 'nothing matches' }
    $found | ForEach-Object { Send-Item $_ $_.Name }
  } else {
    $item = Get-Item -LiteralPath $path -Force
    if ($kind -eq 'file' -and $item.PSIsContainer) { throw 'it is a directory' }
    if ($kind -eq 'file') { Send-File $item.FullName '' } else { Send-Item $item $item.Name }
  }
} catch { [Console]::Error.WriteLine($_.Exception.Message); exit 1 }
exit 0
