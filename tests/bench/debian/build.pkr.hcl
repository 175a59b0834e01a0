# What `./x bench build` and `./x lab debian` build on Debian, which is restarted in the middle.

variable "log" {
  type = string
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
