# The test guest on real VirtualBox: installed from its CD, then imported, then worked on where it is registered.
variable "iso" {
  type = string
}

locals {
  boot_command = ["install answers=http://{{ .HTTPIP }}:{{ .HTTPPort }}/answers<enter>"]
}

source "virtualbox-iso" "tiny" {
  iso_url                 = var.iso
  iso_checksum            = "none"
  vm_name                 = "kiln-tiny"
  guest_os_type           = "Linux_64"
  memory                  = 512
  disk_size               = 600
  hard_drive_interface    = "sata"
  headless                = true
  guest_additions_mode    = "disable"
  virtualbox_version_file = "/root/vbox-version"
  http_content            = { "/answers" = "password=kiln-lab\nhostname=lab\n" }
  boot_wait               = "2m"
  boot_command            = local.boot_command
  ssh_username            = "root"
  ssh_password            = "kiln-lab"
  ssh_timeout             = "40m"
  shutdown_command        = "poweroff"
  shutdown_timeout        = "10m"
  format                  = "ova"
  output_directory        = "out/iso"
}

source "virtualbox-ovf" "tiny" {
  source_path             = "out/iso/kiln-tiny.ova"
  vm_name                 = "kiln-tiny-again"
  headless                = true
  guest_additions_mode    = "disable"
  virtualbox_version_file = "/root/vbox-version"
  ssh_username            = "root"
  ssh_password            = "kiln-lab"
  ssh_timeout             = "40m"
  acpi_shutdown           = true
  shutdown_timeout        = "10m"
  output_directory        = "out/ovf"
  keep_registered         = true
}

source "virtualbox-vm" "tiny" {
  vm_name                 = "kiln-tiny-again"
  target_snapshot         = "built"
  skip_export             = true
  headless                = true
  guest_additions_mode    = "disable"
  virtualbox_version_file = ""
  ssh_username            = "root"
  ssh_password            = "kiln-lab"
  ssh_timeout             = "40m"
  shutdown_command        = "poweroff"
  shutdown_timeout        = "10m"
  output_directory        = "out/vm"
}

# VirtualBox has no guest additions here, and nothing can be fetched.
source "virtualbox-iso" "additions" {
  iso_url              = var.iso
  iso_checksum         = "none"
  vm_name              = "kiln-additions"
  guest_os_type        = "Linux_64"
  disk_size            = 64
  headless             = true
  guest_additions_mode = "upload"
  communicator         = "ssh"
  ssh_username         = "root"
  ssh_password         = "kiln-lab"
  shutdown_command     = "poweroff"
  output_directory     = "out/additions"
}

build {
  sources = ["virtualbox-iso.tiny", "virtualbox-ovf.tiny", "virtualbox-vm.tiny", "virtualbox-iso.additions"]

  provisioner "shell" {
    inline = ["hostname", "cat /root/vbox-version; echo", "echo $PACKER_BUILDER_TYPE >> /root/built-by", "cat /root/built-by"]
  }
}
