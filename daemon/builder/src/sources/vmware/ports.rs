//! Serial and parallel ports as templates write them: a word, and what follows it behind a colon.

use kiln_hypervisors::vmware::{ParallelPort, SerialPort};

/// What VMware calls the host's first serial port.
const FIRST_DEVICE: &str = "/dev/ttyS0";

/// Reads `FILE:path[,yield]`, `DEVICE:path[,yield]`, `PIPE:path,client|server,app|vm[,yield]`, `AUTO[:yield]` or `NONE`.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn serial(text: &str) -> Result<SerialPort, String> {
    let (word, rest) = text.split_once(':').unwrap_or((text, ""));
    let mut parts = rest.split(',').filter(|_| !rest.is_empty()).map(str::trim);
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let port = match word.to_uppercase().as_str() {
        // Not asked for: Kiln's own, which is heard and taken out again.
        "NONE" => SerialPort::Heard,
        "FILE" => {
            let path = next();
            if path.is_empty() {
                return Err("FILE needs a path: FILE:/tmp/serial.log".to_owned());
            }
            SerialPort::File { path, yields: truth(&next())? }
        }
        "DEVICE" => {
            let path = Some(next()).filter(|path| !path.is_empty()).unwrap_or_else(|| FIRST_DEVICE.to_owned());
            SerialPort::Device { path, yields: truth(&next())? }
        }
        "PIPE" => {
            let (path, end, far) = (next(), next().to_lowercase(), next().to_lowercase());
            if path.is_empty() || !matches!(end.as_str(), "client" | "server") || !matches!(far.as_str(), "app" | "vm")
            {
                return Err("PIPE is written PIPE:path,client|server,app|vm".to_owned());
            }
            SerialPort::Pipe { path, end, app: far == "app", yields: truth(&next())? }
        }
        "AUTO" => SerialPort::Auto { yields: truth(&next())? },
        other => return Err(format!("there is no kind {other:?}: write FILE, DEVICE, PIPE, AUTO or NONE")),
    };
    match parts.next() {
        Some(more) => Err(format!("{more:?} is one part too many")),
        None => Ok(port),
    }
}

/// Reads `FILE:path`, `DEVICE:path[,uni|bi]`, `AUTO[:uni|bi]` or `NONE`.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn parallel(text: &str) -> Result<ParallelPort, String> {
    let (word, rest) = text.split_once(':').unwrap_or((text, ""));
    let mut parts = rest.split(',').filter(|_| !rest.is_empty()).map(str::trim);
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let port = match word.to_uppercase().as_str() {
        "NONE" => ParallelPort::None,
        "FILE" | "DEVICE" if rest.is_empty() => return Err(format!("{word} needs a path")),
        "FILE" => ParallelPort::File { path: next() },
        "DEVICE" => ParallelPort::Device { path: next(), bidirectional: both_ways(&next())? },
        "AUTO" => ParallelPort::Auto { bidirectional: both_ways(&next())? },
        other => return Err(format!("there is no kind {other:?}: write FILE, DEVICE, AUTO or NONE")),
    };
    match parts.next() {
        Some(more) => Err(format!("{more:?} is one part too many")),
        None => Ok(port),
    }
}

fn truth(text: &str) -> Result<bool, String> {
    match text.to_uppercase().as_str() {
        "" | "FALSE" => Ok(false),
        "TRUE" => Ok(true),
        other => Err(format!("yield is TRUE or FALSE, not {other:?}")),
    }
}

fn both_ways(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "" | "uni" => Ok(false),
        "bi" => Ok(true),
        other => Err(format!("the direction is uni or bi, not {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_ports() {
        let file = |yields| SerialPort::File { path: "/a".to_owned(), yields };
        assert_eq!(serial("FILE:/a"), Ok(file(false)));
        assert_eq!(serial("file:/a,true"), Ok(file(true)));
        assert_eq!(serial("none"), Ok(SerialPort::Heard));
        assert_eq!(serial("AUTO:TRUE"), Ok(SerialPort::Auto { yields: true }));
        assert_eq!(serial("DEVICE"), Ok(SerialPort::Device { path: FIRST_DEVICE.to_owned(), yields: false }));
        let pipe = SerialPort::Pipe { path: "/p".to_owned(), end: "server".to_owned(), app: false, yields: true };
        assert_eq!(serial("PIPE:/p,server,vm,TRUE"), Ok(pipe));
        for wrong in ["", "FILE", "FILE:", "PIPE:/p", "PIPE:/p,middle,vm", "AUTO:perhaps", "NONE:a,b", "FILE:/a,TRUE,x"]
        {
            assert!(serial(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn parallel_ports() {
        assert_eq!(parallel("None"), Ok(ParallelPort::None));
        assert_eq!(parallel("FILE:/a"), Ok(ParallelPort::File { path: "/a".to_owned() }));
        assert_eq!(parallel("DEVICE:/d,bi"), Ok(ParallelPort::Device { path: "/d".to_owned(), bidirectional: true }));
        assert_eq!(parallel("AUTO:uni"), Ok(ParallelPort::Auto { bidirectional: false }));
        for wrong in ["", "FILE", "DEVICE:/d,both", "AUTO:bi,x", "PIPE:/p"] {
            assert!(parallel(wrong).is_err(), "{wrong:?}");
        }
    }
}
