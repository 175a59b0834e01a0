# One guest in three hypervisors: installed by QEMU, converted into packages, and started from its qcow2, its VMX and its OVA, which asks
# for its licence to be accepted. Wherever it runs, it holds the same.
locals {
  password = "kiln-lab"
}

source "qemu" "installed" {
  iso_url          = var.iso
  iso_checksum     = "none"
  accelerator      = "tcg"
  memory           = 256
  disk_size        = "256M"
  headless         = true
  http_content     = { "/answers" = "password=${local.password}\nhostname=made\n" }
  boot_wait        = "6s"
  boot_command     = ["install answers=http://{{ .HTTPIP }}:{{ .HTTPPort }}/answers<enter>"]
  ssh_username     = "root"
  ssh_password     = local.password
  ssh_timeout      = "40m"
  shutdown_command = "poweroff"
  output_directory = "made"
  vm_name          = "made.qcow2"
}

source "qemu" "made" {
  disk_image       = true
  iso_url          = "made/made.qcow2"
  iso_checksum     = "none"
  accelerator      = "tcg"
  memory           = 256
  headless         = true
  ssh_username     = "root"
  ssh_password     = local.password
  ssh_timeout      = "40m"
  shutdown_command = "poweroff"
  output_directory = "out/made-qemu"
}

source "vmware-vmx" "made" {
  source_path      = "made/made.vmx"
  headless         = true
  ssh_username     = "root"
  ssh_password     = local.password
  ssh_timeout      = "40m"
  shutdown_command = "poweroff"
  output_directory = "out/made-vmware"
}

source "virtualbox-ovf" "made" {
  source_path             = "made/made.ova"
  import_flags            = ["--eula", "accept"]
  vm_name                 = "made"
  headless                = true
  guest_additions_mode    = "disable"
  virtualbox_version_file = ""
  ssh_username            = "root"
  ssh_password            = local.password
  ssh_timeout             = "40m"
  shutdown_command        = "poweroff"
  shutdown_timeout        = "10m"
  output_directory        = "out/made-virtualbox"
}

# It does not say that the licence is accepted.
source "virtualbox-ovf" "refused" {
  source_path             = "made/made.ova"
  vm_name                 = "refused"
  headless                = true
  guest_additions_mode    = "disable"
  virtualbox_version_file = ""
  communicator            = "none"
  disable_shutdown        = true
  output_directory        = "out/refused"
}

build {
  sources = ["qemu.installed", "qemu.made", "vmware-vmx.made", "virtualbox-ovf.made", "virtualbox-ovf.refused"]

  # What it holds, but for what each boot makes anew.
  provisioner "shell" {
    except = ["qemu.installed", "virtualbox-ovf.refused"]
    inline = [
      "cd / && find . -xdev -type f | grep -Ev '^./(tmp/|root/content$|var/log/)' | sort | xargs sha256sum > /root/content",
      "echo content digest $(sha256sum < /root/content)",
    ]
  }

  provisioner "file" {
    except      = ["qemu.installed", "virtualbox-ovf.refused"]
    direction   = "download"
    source      = "/root/content"
    destination = "out/content-${source.type}"
  }
}
