# Read by packer 1.6.6 and by kiln alike; boot_wait and everything else is the same for both.

variable "iso" {
  type = string
}

variable "output" {
  type = string
}

source "qemu" "bench" {
  iso_url          = var.iso
  iso_checksum     = "none"
  accelerator      = "tcg"
  memory           = 512
  disk_size        = "1G"
  headless         = true
  http_directory   = "http"
  boot_wait        = "8s"
  boot_command     = ["install answers=http://{{ .HTTPIP }}:{{ .HTTPPort }}/answers<enter>"]
  ssh_username     = "root"
  ssh_password     = "bench-password"
  ssh_timeout      = "5m"
  shutdown_command = "poweroff"
  output_directory = var.output
}

build {
  sources = ["source.qemu.bench"]

  provisioner "shell" {
    inline = ["echo baked > /etc/motd", "uname -a"]
  }
}
