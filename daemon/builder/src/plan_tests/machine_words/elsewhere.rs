//! Options that have no words among a machine's: of other things than the machine, and such as other tests show.

/// Options that say nothing of the machine: how the guest is reached, fed and left, and which files are made of it. That each acts is in
/// `digest.rs`. A `*` stands for any end.
pub(super) const NOT_OF_THE_MACHINE: &[&str] = &[
    // The way in. Its port on both ends is in the machine, and has words.
    "communicator",
    "guest_agent_*",
    "ssh_*",
    "winrm_*",
    "temporary_key_*",
    "pause_before_connecting",
    // What is typed and served.
    "boot_*",
    "http_*",
    "floppy_content",
    "floppy_dirs",
    "floppy_label",
    "cd_content",
    "cd_label",
    // The end of a range, whose beginning has words.
    "host_port_max",
    "vnc_port_max",
    "vrdp_port_max",
    // What it is made of, and what is in its disks.
    "disk_size",
    "use_backing_file",
    "skip_resize_disk",
    "qemu_img_args",
    "iso_*",
    "checksum",
    "target_path",
    "source_path",
    "attach_snapshot",
    "linked",
    "guest_additions_path",
    "guest_additions_sha256",
    "guest_additions_url",
    "virtualbox_version_file",
    "tools_source_path",
    "tools_upload_*",
    // Its end.
    "shutdown_*",
    "post_shutdown_delay",
    "disable_shutdown",
    "acpi_shutdown",
    "vboxmanage_post",
    "vmx_data_post",
    "vmx_remove_ethernet_interfaces",
    "snapshot_name",
    "target_snapshot",
    "force_delete_snapshot",
    "bundle_iso",
    // What is left.
    "format",
    "output_directory",
    "output_filename",
    "skip_export",
    "export_opts",
    "ovftool_options",
    "skip_compaction",
    "disk_compression",
    "efi_drop_efivars",
    // Of other systems, and of Packer's own time.
    "fusion_app_path",
    "remote_type",
    "network_name",
    "run_once",
];

/// Options of the machine that change none of these words: the builder (as it begins), the option, the file and the test that shows it.
pub(super) const SHOWN_ELSEWHERE: &[(&str, &str, &str, &str)] = &[
    ("qemu", "qemu_binary", "hypervisors/src/qemu/look/tests.rs", "unknown_names_are_told_with_those_there_are"),
    ("qemu", "use_tpm1", "hypervisors/src/qemu/tests.rs", "a_tpm_is_started_and_goes_with_the_machine"),
    (
        "qemu",
        "qmp_socket_path",
        "hypervisors/src/qemu/tests.rs",
        "the_monitor_of_a_start_that_is_dropped_is_gone_at_once",
    ),
    ("qemu", "efi_firmware_vars", "hypervisors/src/qemu/tests/uefi.rs", "uefi_tries_the_disk_before_the_cd"),
    // Which firmware that is depends on the host.
    ("qemu", "efi_boot", "tests/it/machines.rs", "uefi_guests_of_both_architectures_boot_and_keep_their_variables"),
    // QEMU is told of forwardings when it runs.
    ("qemu", "skip_nat_mapping", "daemon/builder/src/sources/qemu/tests.rs", "each_option_is_in_the_machine"),
    ("qemu", "host_port_min", "hypervisors/src/qemu/tests/ports.rs", "a_taken_port_is_passed_over"),
    // Of a machine that is there before, what is done depends on what it is like.
    ("virtualbox-ovf", "cd_files", "hypervisors/src/virtualbox/places.rs", "discs_go_beside_the_disks"),
    ("virtualbox-vm", "cd_files", "hypervisors/src/virtualbox/places.rs", "discs_go_beside_the_disks"),
    (
        "virtualbox-ovf",
        "floppy_files",
        "hypervisors/src/virtualbox/places.rs",
        "a_floppy_goes_into_the_machines_own_drive",
    ),
    (
        "virtualbox-vm",
        "floppy_files",
        "hypervisors/src/virtualbox/places.rs",
        "a_floppy_goes_into_the_machines_own_drive",
    ),
    (
        "virtualbox-ovf",
        "guest_additions_*",
        "hypervisors/src/virtualbox/tests/handed_back.rs",
        "it_is_handed_back_as_it_was_found",
    ),
    (
        "virtualbox-vm",
        "guest_additions_*",
        "hypervisors/src/virtualbox/tests/handed_back.rs",
        "it_is_handed_back_as_it_was_found",
    ),
    (
        "virtualbox-ovf",
        "keep_registered",
        "hypervisors/src/virtualbox/tests/imported.rs",
        "one_that_is_to_stay_is_moved_when_it_is_done",
    ),
    (
        "virtualbox-vm",
        "keep_registered",
        "hypervisors/src/virtualbox/tests/borrowed.rs",
        "one_that_somebody_else_has_started_since_stays_as_it_is",
    ),
    (
        "virtualbox-vm",
        "vm_name",
        "tests/it/virtualbox.rs",
        "a_machine_of_others_gets_a_snapshot_and_is_otherwise_left_as_it_was",
    ),
    ("vmware", "disk_type_id", "hypervisors/src/vmware/disk_manager.rs", "command_lines_are_packers"),
    (
        "vmware",
        "vmx_template_path",
        "daemon/builder/src/sources/vmware/tests.rs",
        "a_vmx_file_is_rendered_of_templates",
    ),
    (
        "vmware",
        "vmx_disk_template_path",
        "daemon/builder/src/sources/vmware/tests.rs",
        "a_vmx_file_is_rendered_of_templates",
    ),
];
