variable "token" {
  default   = "token-of-golden"
  sensitive = true
}

source "qemu" "web" {
  iso_url          = "https://user:secret-of-url@example.org/installer.iso"
  iso_checksum     = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
  headless         = true
  memory           = 1024
  boot_command     = ["run http://{{ .HTTPIP }}:{{ .HTTPPort }}/answers<enter>"]
  http_content     = { "/answers" = "token=${var.token}" }
  ssh_username     = "root"
  ssh_password     = "password-of-golden"
  shutdown_command = "poweroff"
  output_directory = "/nonexistent/golden"
}

build {
  sources = ["qemu.web"]

  provisioner "shell" {
    inline           = ["echo ${build.ID} {{ build `Host` }}"]
    environment_vars = ["TOKEN=${var.token}"]
    timeout          = "5m"
  }

  error-cleanup-provisioner "shell-local" {
    inline = ["echo rescue"]
  }

  post-processors {
    post-processor "export" {
      formats = ["vmdk"]
    }
    post-processor "manifest" {
      keep_input_artifact = true
    }
  }
}
