//! What people do with templates beside building them; one file or folder for each command.

pub(crate) mod console;
pub(crate) mod fix;
pub(crate) mod fmt;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod upgrade;
pub(crate) mod validate;
