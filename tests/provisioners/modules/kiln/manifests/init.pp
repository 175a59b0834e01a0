class kiln {
  file { '/root/by-puppet':
    content => "${facts['who']} ${facts['packer_build_name']}\n",
  }
}
