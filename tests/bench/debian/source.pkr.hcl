# Read by packer 1.6.6 and by kiln alike, for `./x bench build` and `./x lab debian`: a real distribution is built on, and
# restarted in the middle.

variable "disk" {
  type = string
}

variable "output" {
  type = string
}

variable "log" {
  type = string
}

source "qemu" "debian" {
  iso_url          = var.disk
  iso_checksum     = "none"
  disk_image       = true
  disk_size        = "4G"
  accelerator      = "tcg"
  memory           = 1024
  cpus             = 2
  headless         = true
  ssh_username     = "root"
  ssh_password     = "correct-horse-battery"
  ssh_timeout      = "10m"
  shutdown_command = "systemctl poweroff"
  output_directory = var.output
}

build {
  sources = ["source.qemu.debian"]

  provisioner "shell" {
    inline = ["echo baked > /etc/motd", "uname -a"]
  }

  # The pause lets no provisioner begin before the guest has gone.
  provisioner "shell" {
    inline            = ["systemctl reboot", "sleep 60"]
    expect_disconnect = true
  }

  provisioner "shell" {
    inline = ["grep baked /etc/motd", "journalctl --unit=ssh --output=short-precise > /root/ssh.log"]
  }

  provisioner "file" {
    direction   = "download"
    source      = "/root/ssh.log"
    destination = var.log
  }
}
