//! The options of the amazon-import post-processor.

use kiln_template::OptionSpec;

use super::checks;
use super::define::define;
use super::option_table::option_table;
use super::rule::Rule;
use crate::post_processors::amazon_import::{ARCHITECTURES, BOOT_MODES, VOLUME_TYPES};

const ACCESS: &[OptionSpec] = option_table! {
    "access_key" String = "", "the access key; else the environment's (AWS_ACCESS_KEY_ID) or a profile's";
    "secret_key" String sensitive = "", "its secret";
    "token" String sensitive = "", "the session token of temporary keys";
    "profile" String = "AWS_PROFILE of the environment, else default", "profile of AWS's files, before the keys of the environment";
    "shared_credentials_file" String = "~/.aws/credentials", "AWS's file of keys";
    "region" String = "AWS_REGION or AWS_DEFAULT_REGION of the environment, else the profile's", "where the image goes";
    "custom_endpoint_ec2" String = "", "URL of EC2, instead of AWS's";
    "custom_endpoint_ebs" String = "", "URL of the EBS direct APIs, instead of AWS's";
    "insecure_skip_tls_verify" Bool = "false", "do not look at the certificates of such endpoints";
    "max_retries" Integer = "8", "how often a request is made again that was throttled or cut off";
};

const IMAGE: &[OptionSpec] = option_table! {
    "ami_name" String = "kiln-import-NAME-TIME", "the image's name, which no other image of the account has in the region";
    "ami_description" String = "", "text about it";
    "ami_users" Strings = "", "accounts that may start it";
    "ami_groups" Strings = "", "groups that may start it: all is everybody";
    "ami_org_arns" Strings = "", "organizations that may start it";
    "ami_ou_arns" Strings = "", "organizational units that may start it";
    "snapshot_users" Strings = "", "accounts that may make volumes of its snapshot";
    "tags" Map = "", "tags of the image and its snapshot";
    "architecture" String = "the guest's", "x86_64 or arm64";
    "boot_mode" String = "the guest's firmware", "legacy-bios, uefi or uefi-preferred";
    "ena_support" Bool = "true", "the guest has a driver for EC2's network cards (ENA)";
    "imds_support" String = "", "v2.0: machines ask for their metadata by version 2 only";
    "tpm_support" String = "", "v2.0: machines have a NitroTPM; needs uefi";
    "root_device_name" String = "/dev/xvda", "the root disk's name";
    "volume_size" Integer = "", "GiB of the root disk; unset: the disk's size";
    "volume_type" String = "gp3", "kind of the root disk: gp3, gp2, io1, io2 or standard";
    "ami_encrypt" Bool = "false", "encrypt the snapshot";
    "ami_kms_key" String = "", "ARN of the key that it is encrypted with; else the account's own";
};

const NOT_HEEDED: &[OptionSpec] = option_table! {
    "s3_bucket_name" String = "", "of no effect: nothing goes through S3";
    "s3_key_name" String = "", "of no effect";
    "s3_encryption" String = "", "of no effect";
    "s3_encryption_key" String = "", "of no effect";
    "skip_clean" Bool = "false", "of no effect";
    "role_name" String = "", "of no effect: no import service acts for the account";
    "license_type" String = "", "of no effect: registered images have the licence that their system brings";
    "format" String = "", "of no effect: the image's format is recognised";
    "platform" String = "", "of no effect";
};

const RULES: &[Rule] = &[
    Rule::OneOf("architecture", &ARCHITECTURES),
    Rule::OneOf("boot_mode", &BOOT_MODES),
    Rule::OneOf("volume_type", &VOLUME_TYPES),
    Rule::OneOf("imds_support", &["v2.0"]),
    Rule::OneOf("tpm_support", &["v2.0"]),
    Rule::Range("volume_size", 1, 65536),
    Rule::Range("max_retries", 1, 100),
    Rule::Requires("access_key", "secret_key"),
    Rule::Requires("secret_key", "access_key"),
    Rule::Requires("token", "access_key"),
    Rule::Requires("ami_kms_key", "ami_encrypt"),
    Rule::Check(
        "`ami_name` has 3 to 128 letters, digits, spaces and `()[]./-'@_`; an encrypted image is not for `ami_groups`.",
        checks::amazon::name,
    ),
    Rule::Check("Options that are of no effect are warned of.", checks::amazon::not_heeded),
];

define!(AMAZON_IMPORT = PostProcessor "amazon-import" true,
    "Kiln's own way: makes an AMI of the disk through the EBS direct APIs, with no bucket and no import role.",
    IMAGE, [ACCESS, NOT_HEEDED], [RULES]);
