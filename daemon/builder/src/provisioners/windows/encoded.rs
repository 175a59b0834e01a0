//! PowerShell commands in Base64, which no shell on their way can misread.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The command line that runs `script`, without the bars that show progress.
pub(super) fn command(script: &str) -> String {
    let script = format!("$ProgressPreference = 'SilentlyContinue'; {script}");
    let bytes: Vec<u8> = script.encode_utf16().flat_map(u16::to_le_bytes).collect();
    format!("powershell.exe -EncodedCommand {}", STANDARD.encode(bytes))
}

/// Reads a command line of [`command`] back.
#[cfg(test)]
pub(super) fn decoded(command: &str) -> Option<String> {
    let bytes = STANDARD.decode(command.strip_prefix("powershell.exe -EncodedCommand ")?).ok()?;
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_utf_16_of_the_script() {
        let command = command("echo \"ü\" | x");
        assert!(command.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{command}");
        assert_eq!(decoded(&command).unwrap(), "$ProgressPreference = 'SilentlyContinue'; echo \"ü\" | x");
    }
}
