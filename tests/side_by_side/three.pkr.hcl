# The test guest on three hypervisors, side by side in one job. Whichever has installed it, it holds the same.
variable "iso" {
  type = string
}

# false: VirtualBox makes, configures and exports the machine, but nobody is in it to speak to.
variable "virtualbox_guest" {
  type    = bool
  default = true
}

# For the boot of the CD: an emulated host takes longer.
variable "boot_wait" {
  type    = string
  default = "6s"
}

variable "ssh_timeout" {
  type    = string
  default = "40m"
}

locals {
  answers      = { "/answers" = "password=correct-horse-battery\nhostname=guest\n" }
  boot_command = ["install answers=http://{{ .HTTPIP }}:{{ .HTTPPort }}/answers<enter>"]
}

source "qemu" "guest" {
  iso_url          = var.iso
  iso_checksum     = "none"
  accelerator      = "tcg"
  memory           = 256
  disk_size        = "256M"
  headless         = true
  vnc_bind_address = "127.0.0.1"
  http_content     = local.answers
  boot_wait        = var.boot_wait
  boot_command     = local.boot_command
  ssh_username     = "root"
  ssh_password     = "correct-horse-battery"
  ssh_timeout      = var.ssh_timeout
  shutdown_command = "poweroff"
  output_directory = "out/qemu"
  vm_name          = "guest"
}

source "vmware-iso" "guest" {
  iso_url          = var.iso
  iso_checksum     = "none"
  memory           = 256
  disk_size        = 256
  headless         = true
  http_content     = local.answers
  boot_wait        = var.boot_wait
  boot_command     = local.boot_command
  ssh_username     = "root"
  ssh_password     = "correct-horse-battery"
  ssh_timeout      = var.ssh_timeout
  shutdown_command = "poweroff"
  output_directory = "out/vmware"
  vm_name          = "guest"
}

source "virtualbox-iso" "guest" {
  iso_url                 = var.iso
  iso_checksum            = "none"
  guest_os_type           = "Linux_64"
  memory                  = 512
  disk_size               = 256
  hard_drive_interface    = "sata"
  headless                = true
  guest_additions_mode    = "disable"
  virtualbox_version_file = ""
  http_content            = local.answers
  boot_wait               = var.boot_wait
  boot_command            = var.virtualbox_guest ? local.boot_command : []
  communicator            = var.virtualbox_guest ? "ssh" : "none"
  ssh_username            = "root"
  ssh_password            = "correct-horse-battery"
  ssh_timeout             = var.ssh_timeout
  shutdown_command        = var.virtualbox_guest ? "poweroff" : ""
  acpi_shutdown           = !var.virtualbox_guest
  shutdown_timeout        = "10m"
  output_directory        = "out/virtualbox"
  vm_name                 = "guest"
}

build {
  sources = ["source.qemu.guest", "source.vmware-iso.guest", "source.virtualbox-iso.guest"]

  # All that it holds but what every installation makes anew: the boot loader's place and UUID, host keys, the password's salt, logs.
  provisioner "shell" {
    inline = [
      "anew='^./(tmp/|root/content$|boot/extlinux/(extlinux.conf|ldlinux.sys)$|etc/dropbear/|etc/shadow|var/log/)'",
      "cd / && find . -xdev -type f | grep -Ev $anew | sort | xargs sha256sum > /root/content",
      "echo content digest $(sha256sum < /root/content)",
    ]
  }

  provisioner "file" {
    direction   = "download"
    source      = "/root/content"
    destination = "content-${source.type}"
  }
}
