# One template of the kind that people have, read by packer 1.6.6 and by kiln alike: what each made of the guest is compared.

variable "work" {
  type = string
}

build {
  sources = ["source.qemu.debian"]

  provisioner "shell" {
    environment_vars = ["GREETING=it's \"chained\" & more"]
    inline           = ["mkdir -p /srv/web", "printf '%s\\n' \"$GREETING\" > /srv/web/greeting", "umask 027; touch /srv/web/private"]
  }

  provisioner "shell" {
    script          = "chain/script.sh"
    execute_command = "chmod +x {{ .Path }}; {{ .Vars }} env WHO=script {{ .Path }} one 'two three'"
  }

  provisioner "file" {
    source      = "modules/"
    destination = "/srv/web"
  }

  # Packer 1.6.6 speaks RSA with SHA-1 alone, which OpenSSH 9 has to be asked for, its proxy takes no files of OpenSSH 9, and it does not
  # know how Ansible tells its version now.
  provisioner "ansible" {
    playbook_file      = "site.yml"
    groups             = ["web"]
    user               = "root"
    skip_version_check = true
    ansible_env_vars   = ["ANSIBLE_SSH_TRANSFER_METHOD=piped"]

    ansible_ssh_extra_args = ["-oHostKeyAlgorithms=+ssh-rsa -oPubkeyAcceptedAlgorithms=+ssh-rsa"]
  }

  provisioner "puppet-masterless" {
    manifest_file           = "site.pp"
    module_paths            = ["modules"]
    facter                  = { who = "chain" }
    clean_staging_directory = true
    prevent_sudo            = true
  }

  provisioner "shell" {
    script = "chain/list.sh"
  }

  provisioner "file" {
    direction   = "download"
    source      = "/root/tree"
    destination = "${var.work}/tree"
  }

  post-processors {
    post-processor "vagrant" {
      output              = "${var.work}/{{ .Provider }}.box"
      keep_input_artifact = true
    }
  }

  post-processor "checksum" {
    checksum_types = ["sha256"]
    output         = "${var.work}/sums"
  }

  post-processor "manifest" {
    output = "${var.work}/manifest.json"
  }

  post-processor "compress" {
    output              = "${var.work}/image.tar.gz"
    keep_input_artifact = true
  }
}
