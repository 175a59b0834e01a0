# A real distribution to build on: read by packer 1.6.6 and by kiln alike, for `./x bench build`, `./x lab debian` and
# tests/it/debian.rs, which each add what is built.

variable "disk" {
  type = string
}

variable "output" {
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
