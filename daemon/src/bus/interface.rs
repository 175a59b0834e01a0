//! The interfaces of `org.kiln.Kiln1`: what each has, as one table. Calls are dispatched by it, properties are told by it, and the
//! introspection data is written from it.

/// An interface.
#[derive(Debug)]
pub(crate) struct Interface {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its methods.
    pub(crate) methods: &'static [Method],
    /// Its signals, each with its arguments.
    pub(crate) signals: &'static [(&'static str, Arguments)],
    /// Its properties. All are read-only.
    pub(crate) properties: &'static [Property],
}

/// Arguments: name and signature of each.
pub(crate) type Arguments = &'static [(&'static str, &'static str)];

/// A method.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) takes: Arguments,
    pub(crate) returns: Arguments,
}

/// A property.
#[derive(Debug)]
pub(crate) struct Property {
    pub(crate) name: &'static str,
    pub(crate) signature: &'static str,
    /// Whether it stays as it is as long as its object is there.
    pub(crate) is_constant: bool,
    /// Whether signals on the system bus have it. What they do not have is announced there as changed, and its value given to who asks: who has
    /// called once hears them, and may have lost the right to see since then.
    pub(crate) is_public: bool,
}

pub(super) const MANAGER: &str = "org.kiln.Kiln1.Manager";
pub(super) const JOB: &str = "org.kiln.Kiln1.Job";
pub(super) const BUILD: &str = "org.kiln.Kiln1.Build";
pub(super) const IMAGE: &str = "org.kiln.Kiln1.Image";
pub(super) const PROMPT: &str = "org.kiln.Kiln1.Prompt";
pub(super) const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
pub(super) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
pub(super) const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";
pub(super) const PEER: &str = "org.freedesktop.DBus.Peer";

const fn method(name: &'static str, takes: Arguments, returns: Arguments) -> Method {
    Method { name, takes, returns }
}

const fn constant(name: &'static str, signature: &'static str, is_public: bool) -> Property {
    Property { name, signature, is_constant: true, is_public }
}

const fn changing(name: &'static str, signature: &'static str, is_public: bool) -> Property {
    Property { name, signature, is_constant: false, is_public }
}

const PUBLIC: bool = true;
const OWN: bool = false;
const OPTIONS: (&str, &str) = ("options", "a{sv}");

pub(crate) static OF_THE_BUILDER: &[Interface] = &[
    Interface {
        name: MANAGER,
        methods: &[
            method("ListJobs", &[("filter", "a{sv}")], &[("jobs", "aa{sv}")]),
            method("Submit", &[("specification", "a{sv}"), OPTIONS], &[("job", "o")]),
        ],
        signals: &[],
        properties: &[
            constant("Features", "as", PUBLIC),
            changing("NQueued", "u", OWN),
            changing("NRunning", "u", OWN),
            constant("Version", "s", PUBLIC),
        ],
    },
    Interface {
        name: JOB,
        methods: &[
            method("Cancel", &[OPTIONS], &[]),
            method("OpenEvents", &[("after", "t"), OPTIONS], &[("events", "h")]),
            method("OpenLog", &[OPTIONS], &[("log", "h")]),
            method("Screenshot", &[OPTIONS], &[("png", "h")]),
        ],
        signals: &[],
        properties: &[
            changing("Builds", "ao", PUBLIC),
            changing("Cancelable", "b", PUBLIC),
            constant("CreatedAt", "t", PUBLIC),
            changing("Error", "s", OWN),
            changing("ExitCode", "i", PUBLIC),
            changing("FinishedAt", "t", PUBLIC),
            constant("Id", "s", PUBLIC),
            constant("Kind", "s", PUBLIC),
            constant("Owner", "u", PUBLIC),
            changing("Progress", "d", PUBLIC),
            changing("StartedAt", "t", PUBLIC),
            changing("State", "s", PUBLIC),
            changing("Step", "s", OWN),
            changing("StepCount", "u", PUBLIC),
            changing("StepIndex", "u", PUBLIC),
            constant("Template", "s", OWN),
            changing("Waiting", "o", PUBLIC),
        ],
    },
    Interface {
        name: BUILD,
        methods: &[method("Screenshot", &[OPTIONS], &[("png", "h")])],
        signals: &[],
        properties: &[
            changing("Error", "s", OWN),
            changing("Files", "as", OWN),
            changing("Images", "ao", PUBLIC),
            constant("Job", "o", PUBLIC),
            constant("Name", "s", OWN),
            changing("Progress", "d", PUBLIC),
            changing("State", "s", PUBLIC),
            changing("Step", "s", OWN),
            changing("StepCount", "u", PUBLIC),
            changing("StepIndex", "u", PUBLIC),
        ],
    },
    Interface {
        name: IMAGE,
        methods: &[],
        signals: &[],
        properties: &[
            constant("Build", "o", PUBLIC),
            changing("Builder", "s", OWN),
            changing("Description", "s", OWN),
            changing("Files", "as", OWN),
            changing("Id", "s", OWN),
            constant("Job", "o", PUBLIC),
            constant("Owner", "u", PUBLIC),
        ],
    },
    Interface {
        name: PROMPT,
        methods: &[method("Answer", &[("answer", "s"), OPTIONS], &[])],
        signals: &[],
        properties: &[
            constant("AskedAt", "t", PUBLIC),
            constant("Build", "o", PUBLIC),
            constant("Choices", "a(ss)", OWN),
            constant("Default", "s", OWN),
            constant("Guest", "s", OWN),
            constant("Job", "o", PUBLIC),
            constant("Text", "s", OWN),
        ],
    },
];

/// The interfaces that D-Bus itself defines, as far as they are served.
static OF_THE_BUS: &[Interface] = &[
    Interface {
        name: INTROSPECTABLE,
        methods: &[method("Introspect", &[], &[("xml_data", "s")])],
        signals: &[],
        properties: &[],
    },
    Interface {
        name: PEER,
        methods: &[method("GetMachineId", &[], &[("machine_uuid", "s")]), method("Ping", &[], &[])],
        signals: &[],
        properties: &[],
    },
    Interface {
        name: PROPERTIES,
        methods: &[
            method("Get", &[("interface_name", "s"), ("property_name", "s")], &[("value", "v")]),
            method("GetAll", &[("interface_name", "s")], &[("props", "a{sv}")]),
            method("Set", &[("interface_name", "s"), ("property_name", "s"), ("value", "v")], &[]),
        ],
        signals: &[(
            "PropertiesChanged",
            &[("interface_name", "s"), ("changed_properties", "a{sv}"), ("invalidated_properties", "as")],
        )],
        properties: &[],
    },
    Interface {
        name: OBJECT_MANAGER,
        methods: &[method("GetManagedObjects", &[], &[("objects", "a{oa{sa{sv}}}")])],
        signals: &[
            ("InterfacesAdded", &[("object", "o"), ("interfaces", "a{sa{sv}}")]),
            ("InterfacesRemoved", &[("object", "o"), ("interfaces", "as")]),
        ],
        properties: &[],
    },
];

/// Returns the interface of this name.
pub(super) fn interface(name: &str) -> Option<&'static Interface> {
    OF_THE_BUILDER.iter().chain(OF_THE_BUS).find(|interface| interface.name == name)
}

impl Interface {
    pub(super) fn method(&self, name: &str) -> Option<&'static Method> {
        let methods: &'static [Method] = self.methods;
        methods.iter().find(|method| method.name == name)
    }

    pub(super) fn property(&self, name: &str) -> Option<&'static Property> {
        let properties: &'static [Property] = self.properties;
        properties.iter().find(|property| property.name == name)
    }
}

impl Method {
    /// Returns the signature of what it takes, as a message has it.
    pub(super) fn signature(&self) -> String {
        self.takes.iter().map(|(_, signature)| *signature).collect()
    }
}
