//! Commands with all rights: run by a scheduled task of another user, whose output is read from a file.

use std::time::Duration;

use crate::error::StepError;
use crate::generated::Renderer;
use crate::option_values::OptionValues;
use crate::provisioners::ProvisionContext;

/// How long uploading the task's script may be tried.
const UPLOAD_LIMIT: Duration = Duration::from_secs(300);

/// The script. What stands in `<< >>` is put in.
const SCRIPT: &str = r#"# PowerShell has read all of this by now, and a password is in it: it stays in no guest that restarts, or loses us, on the way.
Remove-Item $PSCommandPath -Force -ErrorAction SilentlyContinue
$ErrorActionPreference = 'Stop'
$name = '<<NAME>>'
$log = [System.Environment]::ExpandEnvironmentVariables('<<LOG>>')
if (Test-Path $log) { Remove-Item $log -Force }
$service = New-Object -ComObject 'Schedule.Service'
$service.Connect()
$task = $service.NewTask($null)
$task.XmlText = @'
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>Kiln: a command with all rights</Description></RegistrationInfo>
  <Principals>
    <Principal id="Author">
      <UserId><<USER>></UserId>
<<LOGON>>      <RunLevel>HighestAvailable</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <AllowHardTerminate>true</AllowHardTerminate>
    <Enabled>true</Enabled>
    <Hidden>false</Hidden>
    <ExecutionTimeLimit>PT24H</ExecutionTimeLimit>
    <Priority>4</Priority>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>cmd</Command>
      <Arguments>/c <<COMMAND>></Arguments>
    </Exec>
  </Actions>
</Task>
'@
$folder = $service.GetFolder('\')
$registered = $folder.RegisterTaskDefinition($name, $task, 6, '<<USER_TEXT>>', <<PASSWORD>>, <<LOGON_TYPE>>, $null)
$null = $registered.Run($null)
$at = 0
function Show-More {
  if (-not (Test-Path $log)) { return }
  $stream = [System.IO.File]::Open($log, 'Open', 'Read', 'ReadWrite')
  try {
    $null = $stream.Seek($script:at, 'Begin')
    $reader = New-Object System.IO.StreamReader $stream
    $text = $reader.ReadToEnd()
    $script:at = $stream.Position
    if ($text) { [Console]::Out.Write($text) }
  } finally { $stream.Dispose() }
}
# Ready, or done so fast that it was never seen to run.
$waited = 0
do {
  Start-Sleep -Milliseconds 100
  $waited += 1
  Show-More
} while ($registered.State -eq 4 -or ($registered.LastTaskResult -eq 267011 -and $waited -lt 600))
Show-More
$result = $registered.LastTaskResult
if (Test-Path $log) { Remove-Item $log -Force -ErrorAction SilentlyContinue }
$folder.DeleteTask($name, 0)
[System.Runtime.InteropServices.Marshal]::ReleaseComObject($service) | Out-Null
exit $result
"#;

/// Returns the command that runs `command` as `elevated_user`, whose script is uploaded; `command` itself when there is no such user.
pub(in crate::provisioners) async fn wrapped(
    context: &ProvisionContext,
    options: OptionValues<'_>,
    renderer: &Renderer,
    command: String,
) -> Result<String, StepError> {
    let Some(user) = options.given("elevated_user") else { return Ok(command) };
    let user = renderer.render(user, &[])?;
    let password = renderer.render(options.given("elevated_password").unwrap_or_default(), &[])?;
    context.build.redactor.add(&password);
    let id = uuid::Uuid::new_v4();
    let path = format!("C:/Windows/Temp/packer-elevated-shell-{id}.ps1");
    let text = script(&id.to_string(), &user, &password, &command);
    let run = format!("powershell -executionpolicy bypass -file \"{path}\"");
    context
        .communicator
        .until(std::time::Instant::now() + UPLOAD_LIMIT)
        .upload_bytes(text.as_bytes(), &path, 0o644)
        .await?;
    Ok(run)
}

/// The task's script.
fn script(id: &str, user: &str, password: &str, command: &str) -> String {
    let log = format!("%SYSTEMROOT%/Temp/packer-{id}.out");
    let logged = format!("{command} > {log} 2>&1");
    let (logon, kind, password) = if password.is_empty() {
        // A service account, which has none.
        ("", "5", "$null".to_owned())
    } else {
        ("      <LogonType>Password</LogonType>\n", "1", format!("'{}'", single_quoted(password)))
    };
    SCRIPT
        .replace("<<NAME>>", &format!("packer-{id}"))
        .replace("<<LOG>>", &log)
        .replace("<<USER_TEXT>>", &single_quoted(user))
        .replace("<<USER>>", &xml(user))
        .replace("<<LOGON>>", logon)
        .replace("<<LOGON_TYPE>>", kind)
        .replace("<<PASSWORD>>", &password)
        .replace("<<COMMAND>>", &xml(&logged))
}

fn single_quoted(text: &str) -> String {
    text.replace('\'', "''")
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&apos;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_runs_the_command_as_the_user_and_keeps_its_words_apart() {
        let text = script("ID", "O'Neill", "p'w<d>", "echo \"a & b\" <x");
        assert!(text.contains(
            "<Arguments>/c echo &quot;a &amp; b&quot; &lt;x &gt; %SYSTEMROOT%/Temp/packer-ID.out 2&gt;&amp;1<"
        ));
        assert!(
            text.contains("<UserId>O&apos;Neill</UserId>\n      <LogonType>Password</LogonType>\n      <RunLevel>")
        );
        assert!(text.contains("6, 'O''Neill', 'p''w<d>', 1, $null)"), "{text}");
        assert!(!text.contains("<<"), "{text}");
        let first = text.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
        assert!(
            first.is_some_and(|line| line.starts_with("Remove-Item $PSCommandPath")),
            "a password is in it: {first:?}"
        );
        let service = script("ID", "SYSTEM", "", "x");
        assert!(service.contains("6, 'SYSTEM', $null, 5, $null)") && !service.contains("LogonType>"), "{service}");
    }
}
