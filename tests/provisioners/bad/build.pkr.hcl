# Guests that do what guests should not: each build ends with what was wrong, soon.

build {
  source "source.qemu.debian" {
    name             = "full"
    output_directory = "${var.output}-full"
  }

  source "source.qemu.debian" {
    name             = "gone"
    output_directory = "${var.output}-gone"
  }

  provisioner "shell" {
    only   = ["qemu.full"]
    inline = ["cat /dev/zero > /filler || true"]
  }

  provisioner "file" {
    only        = ["qemu.full"]
    source      = "large"
    destination = "/root/large"
  }

  provisioner "shell" {
    only   = ["qemu.gone"]
    inline = ["head -c 200000000 /dev/zero | tr '\\0' a", "systemctl stop ssh", "pkill sshd", "sleep 600"]
  }
}
