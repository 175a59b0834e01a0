# Every provisioner that works in or on a Unix guest, on a real Debian.

variable "key" {
  type = string
}

build {
  # Without a proxy, Ansible logs in with the key; Packer gives it no password either.
  source "source.qemu.debian" {
    ssh_private_key_file = var.key
  }

  provisioner "ansible" {
    playbook_file = "site.yml"
    groups        = ["web"]
    user          = "root"
  }

  provisioner "ansible" {
    playbook_file = "site.yml"
    groups        = ["web"]
    use_proxy     = false
  }

  provisioner "ansible-local" {
    command                 = "ansible-playbook"
    playbook_file           = "local.yml"
    role_paths              = ["roles/marker"]
    clean_staging_directory = true
  }

  provisioner "puppet-masterless" {
    manifest_file           = "site.pp"
    module_paths            = ["modules"]
    facter                  = { who = "it's kiln" }
    clean_staging_directory = true
    prevent_sudo            = false
  }

  # Chef is not to be had from Debian: a stand-in that tells what it was given.
  provisioner "shell" {
    inline = [
      "printf '#!/bin/sh\\ncat \"$3\" \"$5\" > /root/chef\\n' > /usr/local/bin/chef-solo",
      "chmod +x /usr/local/bin/chef-solo",
    ]
  }

  provisioner "chef-solo" {
    skip_install   = true
    cookbook_paths = ["modules"]
    run_list       = ["recipe[kiln]"]
  }

  provisioner "reboot" {}

  provisioner "sbom" {
    destination = "sbom"
  }

  provisioner "shell" {
    inline = [
      "cmp /root/by-ansible /root/by-ansible-local",
      "grep -x \"it's kiln debian\" /root/by-puppet",
      "grep recipe.kiln /root/chef",
      "! ls -d /tmp/packer-p* 2>/dev/null",
    ]
  }
}
