# Installs a tiny Linux from its installer CD and leaves it as qcow2, VMDK and OVA.
#
#   ./x demo                       makes the CD and builds this
#   kiln build -var iso=my.iso examples/tiny

variable "iso" {
  type        = string
  default     = "target/guests/kiln-tiny.iso"
  description = "The installer CD that tests/guests/make-installer makes."
}

variable "output_directory" {
  type    = string
  default = "output-tiny"
}

variable "boot_wait" {
  type    = string
  default = "8s"
}

variable "password" {
  type      = string
  default   = "kiln-demo-password"
  sensitive = true

  validation {
    condition     = length(var.password) >= 8
    error_message = "The password must have at least 8 characters."
  }
}

locals {
  answers = {
    hostname = "tiny"
    user     = "kiln"
    password = var.password
  }
}

source "qemu" "tiny" {
  iso_url      = var.iso
  iso_checksum = "none"

  memory    = 256
  disk_size = "1G"
  headless  = true

  http_content = {
    "/answers" = join("\n", [for key, value in local.answers : "${key}=${value}"])
  }
  boot_wait    = var.boot_wait
  boot_command = ["install answers=http://{{ .HTTPIP }}:{{ .HTTPPort }}/answers<enter>"]

  ssh_username     = "root"
  ssh_password     = var.password
  ssh_timeout      = "3m"
  shutdown_command = "poweroff"

  vm_name          = "tiny"
  output_directory = var.output_directory
}

build {
  sources = ["source.qemu.tiny"]

  provisioner "shell" {
    environment_vars = ["GREETING=Baked by Kiln"]
    inline = [
      "echo \"$GREETING ($PACKER_BUILD_NAME)\" > /etc/motd",
      "uname -a",
    ]
  }

  provisioner "file" {
    content     = "built from ${source.type}.${source.name}\n"
    destination = "/etc/kiln-release"
  }

  post-processor "export" {
    formats = ["vmdk", "ova"]
  }

  post-processor "checksum" {
    checksum_types = ["sha256"]
    output         = "${var.output_directory}/SHA256SUMS"
  }

  post-processor "manifest" {
    output = "${var.output_directory}/manifest.json"
  }
}
