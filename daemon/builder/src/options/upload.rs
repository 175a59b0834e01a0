//! The options of the post-processors that publish Vagrant boxes.

use kiln_template::OptionSpec;

use super::define::define;
use super::option_table::option_table;
use super::rule::Rule;

const COMMON: &[OptionSpec] = option_table! {
    "box_tag" String required = "", "the box, OWNER/BOX";
    "version" String required = "", "its version";
    "version_description" String = "", "text about the version";
    "no_release" Bool = "false", "do not release the version";
    "architecture" String = "", "the guest's architecture";
    "default_architecture" String = "", "the box's default architecture";
    "box_download_url" String = "", "where the box lies, instead of uploading it";
    "box_checksum" String = "", "its checksum, TYPE:VALUE";
    "no_direct_upload" Bool = "false", "upload through the service";
    "insecure_skip_tls_verify" Bool = "false", "do not check the service's certificate";
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
    Rule::Check("`box_checksum` has the form `TYPE:VALUE`.", |reader| {
        if reader.text("box_checksum").is_some_and(|checksum| !checksum.contains(':')) {
            reader.error("box_checksum", "Invalid box_checksum", "box_checksum must have the form TYPE:VALUE.");
        }
    }),
];

const CLOUD_OPTIONS: &[OptionSpec] = option_table! {
    "access_token" String sensitive = "VAGRANT_CLOUD_TOKEN or ATLAS_TOKEN of the environment", "the token";
    "vagrant_cloud_url" String = "https://vagrantcloud.com/api/v1", "the service";
};

define!(VAGRANT_CLOUD = PostProcessor "vagrant-cloud" false,
    "Publishes a Vagrant box on Vagrant Cloud.", CLOUD_OPTIONS, [COMMON], [COMMON_RULES]);

const REGISTRY_OPTIONS: &[OptionSpec] = option_table! {
    "box_description" String = "", "text about the box";
    "box_private" Bool = "false", "only members see it";
    "client_id" String = "HCP_CLIENT_ID of the environment", "the service principal";
    "client_secret" String sensitive = "HCP_CLIENT_SECRET of the environment", "its secret";
    "hcp_api_address" String = "", "the service";
    "hcp_auth_url" String = "", "where it logs in";
};

define!(VAGRANT_REGISTRY = PostProcessor "vagrant-registry" false,
    "Publishes a Vagrant box in an HCP registry.", REGISTRY_OPTIONS, [COMMON], [COMMON_RULES]);

define!(HCP_VAGRANT_REGISTRY = PostProcessor "hcp-vagrant-registry" false,
    "Publishes a Vagrant box in an HCP registry; another name of vagrant-registry.",
    REGISTRY_OPTIONS, [COMMON], [COMMON_RULES]);
