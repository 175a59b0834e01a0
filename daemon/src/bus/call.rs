//! A method call as it is carried out: who calls what on which object, with its arguments; and the answer to it.

use serde::Serialize;
use zbus::message::Header;
use zbus::wire::DynamicDeserialize;
use zbus::{DynamicType, Message};

use super::failure::{FAILED, Failure, INVALID_ARGUMENTS, TOO_MUCH, UNKNOWN_INTERFACE, UNKNOWN_METHOD, UNKNOWN_OBJECT};
use super::interface::{Interface, Method, interface};
use super::introspection;
use super::place::Place;
use crate::caller::Caller;

/// Longest answer, in bytes. Buses take 32 MiB and more in one message (`max_message_size`), and close the connection of who sends more.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// A method call.
pub(super) struct Call<'m> {
    header: Header<'m>,
    message: &'m Message,
    /// Who calls.
    pub(super) caller: Caller,
    /// The path that is called.
    pub(super) path: &'m str,
    /// The object there, if there can be one.
    pub(super) place: Option<Place>,
    /// The interface and the method.
    pub(super) interface: &'static Interface,
    pub(super) method: &'static Method,
}

impl<'m> Call<'m> {
    /// Finds out what is called.
    pub(super) fn of(message: &'m Message, path: &'m str, caller: Caller) -> Result<Self, Failure> {
        let header = message.header();
        let place = Place::parse(path);
        let there = introspection::names(place.as_ref());
        let member = header.member().map(|name| name.as_str()).unwrap_or_default();
        let found = match header.interface() {
            Some(name) if !there.contains(&name.as_str()) => {
                return Err(Failure::new(UNKNOWN_INTERFACE, format!("{path} has no interface {name}")));
            }
            Some(name) => find(name.as_str(), member),
            // Allowed by the specification: any interface that has such a method.
            None => there.iter().find_map(|name| find(name, member)),
        };
        let unknown = || Failure::new(UNKNOWN_METHOD, format!("{path} has no method {member}"));
        let (interface, method) = found.ok_or_else(unknown)?;
        Ok(Self { header, message, caller, path, place, interface, method })
    }

    /// Reads the arguments, which have to be those of the method.
    pub(super) fn arguments<T>(&self) -> Result<T, Failure>
    where
        T: for<'a> DynamicDeserialize<'a>,
    {
        let wanted = self.method.signature();
        let given = self.header.signature().to_string_no_parens();
        if given != wanted {
            let text = format!("{} takes `{wanted}`, not `{given}`", self.method.name);
            return Err(Failure::new(INVALID_ARGUMENTS, text));
        }
        Ok(self.message.body().deserialize()?)
    }

    /// Returns the object that is called.
    pub(super) fn object(&self) -> Result<&Place, Failure> {
        self.place.as_ref().ok_or_else(|| no_object(self.path))
    }

    /// Makes the answer.
    pub(super) fn answer<T: Serialize + DynamicType>(&self, body: &T) -> Result<Message, Failure> {
        let answer = Message::method_return(&self.header).build(body);
        let answer = answer.map_err(|error| Failure::new(FAILED, format!("the answer cannot be written: {error}")))?;
        let size = answer.data().len();
        if size > MAX_ANSWER_BYTES {
            let text = format!(
                "the answer has {size} bytes, and {MAX_ANSWER_BYTES} are sent at most; ask for less at once: `ListJobs`, and objects one by one"
            );
            return Err(Failure::new(TOO_MUCH, text));
        }
        Ok(answer)
    }
}

fn find(name: &str, member: &str) -> Option<(&'static Interface, &'static Method)> {
    let interface = interface(name)?;
    Some((interface, interface.method(member)?))
}

/// Says that nothing is there.
pub(super) fn no_object(path: &str) -> Failure {
    Failure::new(UNKNOWN_OBJECT, format!("there is no object {path}"))
}

#[cfg(test)]
mod tests {
    use super::super::interface::PEER;
    use super::super::place::ROOT;
    use super::*;

    #[test]
    fn an_answer_that_a_bus_would_not_take_is_a_refusal() {
        let message = Message::method_call(ROOT, "Ping").interface(PEER).build(&()).unwrap();
        let call = Call::of(&message, ROOT, Caller::with_uid(1000)).unwrap();
        let long = "x".repeat(MAX_ANSWER_BYTES);
        let refused = call.answer(&(&long,)).unwrap_err();
        assert_eq!(refused.name, TOO_MUCH);
        assert!(refused.text.contains("16777216 are sent at most"), "{}", refused.text);
        assert!(call.answer(&(&long[..MAX_ANSWER_BYTES - 1024],)).is_ok());
    }
}
