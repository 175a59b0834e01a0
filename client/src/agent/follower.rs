//! Follows the kilnd of one bus: what its objects are, and each change of them. Never starts one.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use zbus::message::Type;
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedObjectPath};

use super::complaint::complain;
use super::news::{JobNews, News, Place, PromptNews, Properties, Thing};

pub(super) const KILND: &str = "org.kiln.Kiln1";
const ROOT: &str = "/org/kiln/Kiln1";
pub(super) const JOB: &str = "org.kiln.Kiln1.Job";
pub(super) const PROMPT: &str = "org.kiln.Kiln1.Prompt";
const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";

/// Time for an answer of a bus or of kilnd.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Time after which a kilnd is asked again that did not answer.
const AGAIN: Duration = Duration::from_secs(5);

/// Signals that wait to be looked at, which takes no time.
const QUEUE: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// All objects with their interfaces.
type Objects = HashMap<OwnedObjectPath, HashMap<String, Properties>>;

/// Tells the news of this bus until nobody listens any more.
pub(super) async fn follow(bus: Connection, place: Place, news: mpsc::Sender<News>) -> zbus::Result<()> {
    let mut owners = owners_of(&bus, KILND).await?;
    let mut owner = owner_of(&bus, KILND).await;
    loop {
        let changed = match &owner {
            None => owners.next().await,
            Some(unique) => {
                let attended = async {
                    loop {
                        let end = attend(&bus, unique, place, &news).await;
                        if news.is_closed() {
                            return;
                        }
                        if let Err(error) = end {
                            complain(&format!("kilnd does not answer, and is asked again: {error}"));
                        }
                        tokio::time::sleep(AGAIN).await;
                    }
                };
                let changed = tokio::select! {
                    changed = owners.next() => changed,
                    () = attended => return Ok(()),
                };
                if news.send(News::Left(place)).await.is_err() {
                    return Ok(());
                }
                changed
            }
        };
        let Some(changed) = changed else { return Ok(()) };
        let (_, _, new): (String, String, String) = changed?.body().deserialize()?;
        owner = Some(new).filter(|new| !new.is_empty());
    }
}

/// Returns the changes of who has a name.
pub(super) async fn owners_of(bus: &Connection, name: &str) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder().msg_type(Type::Signal).sender(BUS).interface(BUS).member("NameOwnerChanged");
    MessageStream::for_match_rule(rule.arg(0, name.to_owned()).build()?, bus, Some(QUEUE)).await
}

/// Returns the one who has a name.
pub(super) async fn owner_of(bus: &Connection, name: &str) -> Option<String> {
    let name = (name,);
    let asked = bus.call_method(Some(BUS), BUS_PATH, Some(BUS), "GetNameOwner", &name);
    timeout(ANSWER_TIMEOUT, asked).await.ok()?.ok()?.body().deserialize().ok()
}

/// Tells what this kilnd has, and each change, until it does not answer any more.
async fn attend(bus: &Connection, kilnd: &str, place: Place, news: &mpsc::Sender<News>) -> zbus::Result<()> {
    let rule = MatchRule::builder().msg_type(Type::Signal).sender(kilnd.to_owned()).path_namespace(ROOT);
    let mut signals = MessageStream::for_match_rule(rule.build()?, bus, Some(QUEUE)).await?;
    // What is to be read anew. The signals are taken off at once, whatever else takes its time: behind them come the answers.
    let changed = Arc::new(Changed::for_user(rustix::process::geteuid().as_raw()));
    let noting = Arc::clone(&changed);
    let note = async move {
        while let Some(Ok(signal)) = signals.next().await {
            noting.note(&signal);
        }
    };
    let tell = async {
        let asked = bus.call_method(Some(kilnd), ROOT, Some(OBJECT_MANAGER), "GetManagedObjects", &());
        let objects: Objects = answered(asked).await?.body().deserialize()?;
        let thing = |path: &OwnedObjectPath| Thing { place, path: path.to_string() };
        let mut all = Vec::new();
        // A question is told after the job that it is of.
        for wanted in [JOB, PROMPT] {
            for (path, interfaces) in &objects {
                let Some(properties) = interfaces.get(wanted) else { continue };
                all.push(thing(path));
                if news.send(read(thing(path), wanted, properties.clone())).await.is_err() {
                    return Ok(());
                }
            }
        }
        let mut heard = news.send(News::All(place, all)).await;
        while heard.is_ok() {
            let path = changed.next().await;
            let interface = if path.contains("/prompt/") { PROMPT } else { JOB };
            let thing = Thing { place, path };
            let of_interface = (interface,);
            let asked = bus.call_method(Some(kilnd), &*thing.path, Some(PROPERTIES), "GetAll", &of_interface);
            let told = match answered(asked).await {
                Ok(answer) => read(thing.clone(), interface, answer.body().deserialize()?),
                Err(error) if says_that_it_is_gone(&error) => {
                    // It is over and forgotten, or another's: nothing more of it is asked for.
                    changed.leave_alone(&thing.path);
                    News::Gone(thing)
                }
                // A kilnd that ends answers nothing, and what it knew the next one knows.
                Err(error) => return Err(error),
            };
            heard = news.send(told).await;
        }
        Ok(())
    };
    tokio::select! {
        () = note => Ok(()),
        told = tell => told,
    }
}

fn read(thing: Thing, interface: &str, properties: Properties) -> News {
    if interface == JOB {
        News::Job(thing, JobNews::read(properties))
    } else {
        News::Prompt(thing, PromptNews::read(properties))
    }
}

async fn answered(call: impl Future<Output = zbus::Result<Message>>) -> zbus::Result<Message> {
    timeout(ANSWER_TIMEOUT, call).await.unwrap_or_else(|_| Err(zbus::Error::Failure("no answer in time".to_owned())))
}

/// Whether kilnd says that there is no such object any more, or none of this user's.
fn says_that_it_is_gone(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::FDO(error) => {
            matches!(**error, zbus::fdo::Error::UnknownObject(_) | zbus::fdo::Error::UnknownInterface(_))
        }
        zbus::Error::MethodError(name, ..) => name.starts_with("org.kiln.Kiln1.Error."),
        _ => false,
    }
}

/// Jobs of others that are remembered at most; of one that is forgotten too early kilnd is asked once more.
const MAX_OTHERS: usize = 4096;

/// Objects of which something has changed, each once.
struct Changed {
    /// Whose jobs are shown.
    uid: u32,
    paths: Mutex<HashSet<String>>,
    /// Jobs that are not, while they are there: whoever asks for them has kilnd, and perhaps polkit, look whether they may be seen.
    others: Mutex<HashSet<String>>,
    more: Notify,
}

impl Changed {
    fn for_user(uid: u32) -> Self {
        Self { uid, paths: Mutex::default(), others: Mutex::default(), more: Notify::new() }
    }

    /// Remembers that a job, or what it belongs to, is none of this user's.
    fn leave_alone(&self, path: &str) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if others.len() >= MAX_OTHERS {
            others.clear();
        }
        // A question that is answered goes by itself, and its job stays.
        if is_job(path) {
            others.insert(path.to_owned());
        }
    }

    /// Whether it is another's; one that goes is forgotten.
    fn is_of_others(&self, path: &str, goes: bool) -> bool {
        let job = path.split("/prompt/").next().unwrap_or(path);
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if goes && is_job(path) { others.remove(job) } else { others.contains(job) }
    }

    /// Notes what a signal is about: `PropertiesChanged` comes from the object, the two of the object manager name it.
    fn note(&self, signal: &Message) {
        let header = signal.header();
        let body = signal.body();
        // The rest of what they say is asked for: on the system bus it is little.
        let member = header.member().map(|name| name.as_str());
        let path = match member {
            Some("InterfacesRemoved") => {
                body.deserialize::<(OwnedObjectPath, Vec<String>)>().ok().map(|(path, _)| path.to_string())
            }
            Some("InterfacesAdded") => {
                let read = body.deserialize::<(OwnedObjectPath, HashMap<String, Properties>)>();
                let owner = |interfaces: &HashMap<String, Properties>| {
                    interfaces.get(JOB).and_then(|job| job.get("Owner")).and_then(|owner| u32::try_from(&**owner).ok())
                };
                read.ok().map(|(path, interfaces)| {
                    if owner(&interfaces).is_some_and(|owner| owner != self.uid) {
                        self.leave_alone(&path);
                    }
                    path.to_string()
                })
            }
            _ => header.path().map(ToString::to_string),
        };
        let is_meant = |path: &String| is_job(path) || path.contains("/prompt/");
        if let Some(path) = path.filter(is_meant)
            && !self.is_of_others(&path, member == Some("InterfacesRemoved"))
        {
            self.paths.lock().unwrap_or_else(PoisonError::into_inner).insert(path);
            self.more.notify_one();
        }
    }

    async fn next(&self) -> String {
        loop {
            let one = {
                let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
                // Jobs before their questions.
                let one = paths.iter().min_by_key(|path| path.len()).cloned();
                if let Some(path) = &one {
                    paths.remove(path);
                }
                one
            };
            match one {
                Some(path) => return path,
                None => self.more.notified().await,
            }
        }
    }
}

/// Whether a path is that of a job, and of nothing below it.
fn is_job(path: &str) -> bool {
    path.strip_prefix(ROOT).and_then(|rest| rest.strip_prefix("/job/")).is_some_and(|id| !id.contains('/'))
}

#[cfg(test)]
mod tests {
    use zbus::Variant;

    use super::*;

    const MINE: &str = "/org/kiln/Kiln1/job/mine";
    const THEIRS: &str = "/org/kiln/Kiln1/job/theirs";
    const UNKNOWN: &str = "/org/kiln/Kiln1/job/unknown";

    fn added(path: &'static str, owner: u32) -> Message {
        let properties = HashMap::from([("Owner", Variant::from(owner))]);
        let body = (zbus::ObjectPath::try_from(path).unwrap(), HashMap::from([(JOB, properties)]));
        Message::signal(ROOT, OBJECT_MANAGER, "InterfacesAdded").build(&body).unwrap()
    }

    fn changed(path: &'static str) -> Message {
        Message::signal(path, PROPERTIES, "PropertiesChanged").build(&()).unwrap()
    }

    fn removed(path: &'static str) -> Message {
        let body = (zbus::ObjectPath::try_from(path).unwrap(), [JOB].as_slice());
        Message::signal(ROOT, OBJECT_MANAGER, "InterfacesRemoved").build(&body).unwrap()
    }

    #[test]
    fn nothing_is_asked_for_of_jobs_of_others() {
        let noted = Changed::for_user(1000);
        let to_ask = || {
            let mut paths: Vec<_> = noted.paths.lock().unwrap().drain().collect();
            paths.sort();
            paths
        };
        for signal in [added(MINE, 1000), added(THEIRS, 1001), changed(THEIRS)] {
            noted.note(&signal);
        }
        assert_eq!(to_ask(), [MINE]);
        for signal in [changed("/org/kiln/Kiln1/job/theirs/prompt/_1"), changed(MINE), changed(UNKNOWN)] {
            noted.note(&signal);
        }
        assert_eq!(to_ask(), [MINE, UNKNOWN]);
        // kilnd has said that it is not there, for this user.
        noted.leave_alone(UNKNOWN);
        noted.note(&changed(UNKNOWN));
        assert_eq!(to_ask(), [""; 0]);
        noted.note(&removed(THEIRS));
        assert_eq!(to_ask(), [""; 0]);
        assert!(!noted.others.lock().unwrap().contains(THEIRS), "it is forgotten when it goes");
        noted.note(&removed(MINE));
        assert_eq!(to_ask(), [MINE]);
    }
}
