//! Owns the functions that write and read data formats, except YAML.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::csv;
use super::table::{Answer, Call, Failure, Function, any, function, text};
use crate::go::strings;
use crate::language::value::json;
use crate::language::value::{Entries, Type, Value};

/// Bytes of JSON and CSV that are decoded: every two of them can be a value.
const MAX_DECODED: usize = 8 << 20;

pub(super) const FUNCTIONS: &[Function] = &[
    function("base64decode", &[text("str")], base64_decode),
    function("base64encode", &[text("str")], |call| Ok(STANDARD.encode(call.text(0)).into())),
    function("base64gzip", &[text("str")], |call| Ok(STANDARD.encode(gzip(call.text(0).as_bytes())?).into())),
    function("csvdecode", &[text("str")], csv_decode),
    function("jsondecode", &[text("str")], |call| {
        check_length(call.text(0))?;
        json::decode(call.text(0)).map_err(|error| Failure::at(0, error.to_string()))
    }),
    function("jsonencode", &[any("val").or_null()], |call| {
        if call.value(0).holds_infinity() {
            return Err(Failure::new("cannot serialize infinity as JSON"));
        }
        Ok(json::encode(call.value(0)).into())
    }),
    function("textdecodebase64", &[text("source"), text("encoding")], text_decode),
    function("textencodebase64", &[text("string"), text("encoding")], text_encode),
    function("urlencode", &[text("str")], |call| Ok(strings::query_escape(call.text(0)).into())),
];

/// Refuses texts that would become more values than fit into memory.
fn check_length(text: &str) -> Result<(), Failure> {
    if text.len() > MAX_DECODED {
        return Err(Failure::at(0, "the text is larger than 8 MiB"));
    }
    Ok(())
}

fn base64_bytes(text: &str) -> Result<Vec<u8>, Failure> {
    // Go ignores line ends inside base64.
    let plain: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    STANDARD.decode(plain).map_err(|error| Failure::at(0, format!("failed to decode base64 data: {error}")))
}

/// Reports whether a text is base64, as Go sees it.
pub(super) fn is_base64(text: &str) -> bool {
    base64_bytes(text).is_ok()
}

fn base64_decode(call: &Call<'_>) -> Answer {
    match String::from_utf8(base64_bytes(call.text(0))?) {
        Ok(text) => Ok(text.into()),
        Err(_) => Err(Failure::at(0, "the result of decoding the provided string is not valid UTF-8")),
    }
}

/// Compresses bytes in the gzip format, with no name and no time: the text is the same on every machine.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    const UNKNOWN_SYSTEM: u8 = 255;
    let mut writer =
        flate2::GzBuilder::new().operating_system(UNKNOWN_SYSTEM).write(Vec::new(), flate2::Compression::default());
    let written = writer.write_all(bytes).and_then(|()| writer.finish());
    written.map_err(|error| Failure::at(0, format!("the text cannot be compressed: {error}")))
}

fn csv_decode(call: &Call<'_>) -> Answer {
    check_length(call.text(0))?;
    let mut records = csv::Records::new(call.text(0));
    let failed = |error: csv::Malformed| Failure::at(0, error.to_string());
    let Some(header) = records.next().map_err(failed)? else {
        return Err(Failure::at(0, "missing header line"));
    };
    for (index, name) in header.iter().enumerate() {
        if header[..index].contains(name) {
            return Err(Failure::at(0, format!("duplicate column name {name:?}")));
        }
    }
    let mut rows = Vec::new();
    while let Some(record) = records.next().map_err(failed)? {
        if record.len() != header.len() {
            let (found, wanted) = (record.len(), header.len());
            let message = format!("line {} has {found} fields, but the header has {wanted}", records.line());
            return Err(Failure::at(0, message));
        }
        let entries: Entries = header
            .iter()
            .zip(record.iter())
            .map(|(name, field)| (name.as_str().into(), Value::string(field.as_str())))
            .collect();
        rows.push(Value::object(entries));
    }
    let row = header.iter().map(|name| (name.as_str().into(), Type::String)).collect();
    Ok(Value::list(Type::Object(std::sync::Arc::new(row)), rows))
}

/// The encodings of the two functions: UTF-16 is not among those that encoding_rs writes.
enum Encoding {
    Utf16 { little: bool, mark: bool },
    Other(&'static encoding_rs::Encoding),
}

fn encoding(name: &str) -> Result<Encoding, Failure> {
    Ok(match name.to_ascii_uppercase().as_str() {
        "UTF-16LE" => Encoding::Utf16 { little: true, mark: false },
        "UTF-16BE" => Encoding::Utf16 { little: false, mark: false },
        "UTF-16" => Encoding::Utf16 { little: false, mark: true },
        _ => match encoding_rs::Encoding::for_label(name.as_bytes()) {
            Some(found) => Encoding::Other(found),
            None => return Err(Failure::at(1, format!("{name:?} is not a supported IANA encoding name or alias"))),
        },
    })
}

fn text_encode(call: &Call<'_>) -> Answer {
    let text = call.text(0);
    let bytes = match encoding(call.text(1))? {
        Encoding::Utf16 { little, mark } => {
            let units = mark.then_some(0xfeff).into_iter().chain(text.encode_utf16());
            units.flat_map(|unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
        }
        Encoding::Other(other) => {
            let (bytes, _, unmappable) = other.encode(text);
            if unmappable {
                return Err(Failure::at(
                    0,
                    format!("the given string contains characters that cannot be represented in {}", call.text(1)),
                ));
            }
            bytes.into_owned()
        }
    };
    Ok(STANDARD.encode(bytes).into())
}

fn text_decode(call: &Call<'_>) -> Answer {
    let bytes = base64_bytes(call.text(0))?;
    let wrong = || Failure::at(0, format!("the given string is not text in the encoding {}", call.text(1)));
    let text = match encoding(call.text(1))? {
        Encoding::Utf16 { little, mark } => {
            let mut units: Vec<u16> = bytes
                .chunks(2)
                .map(|pair| {
                    let pair = [pair[0], pair.get(1).copied().unwrap_or(0)];
                    if little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) }
                })
                .collect();
            if mark && units.first() == Some(&0xfffe) {
                units.iter_mut().for_each(|unit| *unit = unit.swap_bytes());
            }
            if units.first() == Some(&0xfeff) {
                units.remove(0);
            }
            String::from_utf16(&units).map_err(|_| wrong())?
        }
        Encoding::Other(other) => {
            let (text, malformed) = other.decode_without_bom_handling(&bytes);
            if malformed {
                return Err(wrong());
            }
            text.into_owned()
        }
    };
    Ok(text.into())
}
