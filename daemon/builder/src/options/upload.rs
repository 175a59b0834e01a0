//! The options of the post-processors that publish Vagrant boxes.

use kiln_template::{Generated, OptionSpec};

use super::define::define;
use super::option_table::option_table;
use super::rule::Rule;
use crate::post_processors::vagrant_registry::FIELDS;

const COMMON: &[OptionSpec] = option_table! {
    "box_tag" String required = "", "the box, OWNER/BOX";
    "version" String required = "", "its version";
    "version_description" String = "", "text about the version";
    "no_release" Bool = "false", "do not release the version";
    "architecture" String = "what the box says", "the guest's architecture";
    "default_architecture" String = "", "the box's default architecture";
    "box_download_url" String late = "", "where the box lies, instead of uploading it";
    "box_checksum" String = "", "its checksum, TYPE:VALUE; by default its SHA-256 when it is uploaded";
    "no_direct_upload" Bool = "false", "upload through the service, as boxes of more than 5 GiB always are";
    "insecure_skip_tls_verify" Bool = "false", "do not check the certificate of a service of one's own";
};

const COMMON_RULES: &[Rule] = &[
    Rule::Check("`box_tag` has the form `OWNER/BOX`.", |reader| {
        if let Some(tag) = reader.text("box_tag")
            && !tag.contains('/')
        {
            let detail = format!("box_tag is {tag:?}, but must have the form OWNER/BOX.");
            reader.error("box_tag", "Invalid box_tag", detail);
        }
    }),
    Rule::Check("`box_tag` and `version` have letters, digits and `-_.+` only.", |reader| {
        for name in ["box_tag", "version"] {
            let Some(text) = reader.text(name).filter(|text| !text.contains(Generated::UNKNOWN)) else { continue };
            // The end of the file that the template read it from is left out when it is sent.
            let text = text.trim_end();
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c) || (c == '/' && name == "box_tag");
            if !text.chars().all(plain) || text.matches('/').count() > 1 || text.starts_with('/') || text.ends_with('/')
            {
                let detail =
                    format!("{name} is {text:?}, but becomes part of a URL: letters, digits and -_.+ are possible.");
                reader.error(name, format!("Invalid {name}"), detail);
            }
        }
    }),
    Rule::Fields("box_download_url", FIELDS),
    Rule::Check("`box_checksum` has the form `TYPE:VALUE`.", |reader| {
        if reader.text("box_checksum").is_some_and(|checksum| !checksum.contains(':')) {
            reader.error("box_checksum", "Invalid box_checksum", "box_checksum must have the form TYPE:VALUE.");
        }
    }),
];

const CLOUD_OPTIONS: &[OptionSpec] = option_table! {
    "access_token" String sensitive = "VAGRANT_CLOUD_TOKEN or ATLAS_TOKEN of the environment", "the token";
    "vagrant_cloud_url" String = "https://vagrantcloud.com/api/v2", "the service";
};

define!(VAGRANT_CLOUD = PostProcessor "vagrant-cloud" true,
    "Publishes a Vagrant box on Vagrant Cloud.", CLOUD_OPTIONS, [COMMON], [COMMON_RULES]);

const REGISTRY_OPTIONS: &[OptionSpec] = option_table! {
    "box_description" String = "", "text about the box";
    "box_private" Bool = "false", "only members see it";
    "client_id" String = "HCP_CLIENT_ID of the environment", "the service principal";
    "client_secret" String sensitive = "HCP_CLIENT_SECRET of the environment", "its secret";
    "hcp_api_address" String = "api.cloud.hashicorp.com:443, or HCP_API_ADDRESS of the environment", "the service: HOST:PORT or a URL";
    "hcp_auth_url" String = "https://auth.idp.hashicorp.com, or HCP_AUTH_URL of the environment", "where it logs in";
};

define!(VAGRANT_REGISTRY = PostProcessor "vagrant-registry" true,
    "Publishes a Vagrant box in an HCP registry.", REGISTRY_OPTIONS, [COMMON], [COMMON_RULES]);

define!(HCP_VAGRANT_REGISTRY = PostProcessor "hcp-vagrant-registry" true,
    "Publishes a Vagrant box in an HCP registry; another name of vagrant-registry.",
    REGISTRY_OPTIONS, [COMMON], [COMMON_RULES]);
