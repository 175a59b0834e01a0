# Runs in the guest and takes files: lines of its input say what comes. `@NAME` makes a directory, `:NAME` begins a file, a line of Base64 is
# its next bytes, `=SIZE SHA256` ends it. Names are UTF-8 in Base64, below the destination; the empty name is the destination itself. A file
# has another name until it is whole. What goes wrong is one line on standard error and ends it with 1.
begin {
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$file = $null
function Stop-Here($why) {
  if ($file) { $file.Close(); Remove-Item -LiteralPath $partial -Force -ErrorAction SilentlyContinue }
  [Console]::Error.WriteLine($why)
  exit 1
}
function Get-Place($line) {
  $below = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($line.Substring(1)))
  if ($below) { Join-Path $root $below } else { $root }
}
function New-Folder($folder) {
  if ($folder) { $null = [IO.Directory]::CreateDirectory($folder) }
}
try {
  $root = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath(<<ROOT>>)
  $name = <<NAME>>
  if ($name -and (Test-Path -LiteralPath $root -PathType Container)) { $root = Join-Path $root $name }
} catch { Stop-Here $_.Exception.Message }
}
process {
$line = [string]$_
try {
  if ($line.StartsWith('@')) {
    New-Folder (Get-Place $line)
  } elseif ($line.StartsWith(':')) {
    $path = Get-Place $line
    if (Test-Path -LiteralPath $path -PathType Container) { throw 'it is a directory' }
    New-Folder ([IO.Path]::GetDirectoryName($path))
    $partial = "$path.<<MARK>>"
    $file = [IO.File]::Create($partial)
    $hash = [Security.Cryptography.SHA256]::Create()
    $size = 0
  } elseif ($line.StartsWith('=')) {
    $null = $hash.TransformFinalBlock([byte[]]@(), 0, 0)
    $file.Close()
    $found = "=$size " + [BitConverter]::ToString($hash.Hash).Replace('-', '').ToLower()
    if ($found -ne $line) { throw "it arrived changed: $found" }
    if ([IO.File]::Exists($path)) {
      [IO.File]::SetAttributes($path, 'Normal')
      [IO.File]::Delete($path)
    }
    [IO.File]::Move($partial, $path)
    $file = $null
  } elseif ($line) {
    $bytes = [Convert]::FromBase64String($line)
    $file.Write($bytes, 0, $bytes.Length)
    $null = $hash.TransformBlock($bytes, 0, $bytes.Length, $bytes, 0)
    $size += $bytes.Length
  }
} catch { Stop-Here $_.Exception.Message }
}
end {
if ($file) { Stop-Here 'it did not arrive whole' }
exit 0
}
