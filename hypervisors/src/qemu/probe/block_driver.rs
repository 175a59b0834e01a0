//! Whether a QEMU reads from web servers. It lists the driver also where its module is missing, so it is told to use it: for a node that can be
//! written to, which the driver refuses before it asks any server.

use qapi_qmp::{BlockdevOptions, BlockdevOptionsBase, BlockdevOptionsCurlBase, BlockdevOptionsCurlHttp, blockdev_add};
use serde_json::Value;

use crate::error::MachineError;

/// How QEMU begins when it has no such driver.
const UNKNOWN: &str = "Unknown driver";

/// What is asked. Nobody is spoken to, and nothing comes of it.
pub(super) fn question() -> blockdev_add {
    let curl = BlockdevOptionsCurlBase {
        url: "http://127.0.0.1/".to_owned(),
        password_secret: None,
        proxy_password_secret: None,
        proxy_username: None,
        readahead: None,
        timeout: None,
        username: None,
    };
    let base = BlockdevOptionsBase {
        auto_read_only: None,
        cache: None,
        detect_zeroes: None,
        discard: None,
        force_share: None,
        node_name: Some("kiln-question".to_owned()),
        read_only: Some(false),
    };
    BlockdevOptions::from((BlockdevOptionsCurlHttp::from(curl), base)).into()
}

/// Reads the answer to it.
pub(super) fn is_there(answer: Result<Value, MachineError>) -> Result<bool, MachineError> {
    match answer {
        Err(MachineError::Refused { message, .. }) => Ok(!message.starts_with(UNKNOWN)),
        Ok(_) => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unknown_driver_is_missing() {
        let said = |message: &str| {
            let (command, message) = ("blockdev-add".to_owned(), message.to_owned());
            is_there(Err(MachineError::Refused { command, message })).unwrap()
        };
        assert!(!said("Unknown driver 'http'"));
        assert!(said("curl driver does not support writes"));
        assert!(is_there(Ok(Value::Null)).unwrap());
        assert!(is_there(Err(MachineError::Gone)).is_err());
    }
}
