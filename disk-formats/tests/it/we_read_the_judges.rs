//! Everything that VirtualBox and open-vmdk write is read back equal, in all their variants.

use kiln_disk_formats::{Format, open};

use crate::judges::Judges;
use crate::sample::{Bench, digest};

#[test]
fn virtualbox() {
    let Some(judges) = Judges::present() else { return };
    let bench = Bench::new((9 << 20) + 512, 40, 77);
    let variants = [
        ("VDI", "Standard"),
        ("VDI", "Fixed"),
        ("VMDK", "Standard"),
        ("VMDK", "Fixed"),
        ("VMDK", "Split2G"),
        ("VMDK", "Fixed,Split2G"),
        ("VMDK", "Stream"),
        ("VMDK", "Fixed,ESX"),
        ("VHD", "Standard"),
        ("VHD", "Fixed"),
    ];
    let (mut script, mut made) = (String::new(), Vec::new());
    for (index, (format, variant)) in variants.into_iter().enumerate() {
        let expected = Format::from_name(format).unwrap();
        // Both ways it makes images: from a raw disk, and as a copy of another image.
        let name = format!("{index}.{}", format.to_lowercase());
        script += &format!("VBoxManage convertfromraw source.raw {name} --format {format} --variant {variant}\n");
        script += &format!("VBoxManage clonemedium disk {name} copy-{name} --format {format} --variant {variant}\n");
        made.extend([(format!("copy-{name}"), expected), (name, expected)]);
    }
    judges.run(&bench, &script);
    for (name, format) in made {
        let reader = open(&bench.path(&name), None, &bench.policy()).unwrap();
        assert_eq!(reader.info().format, format, "{name}");
        assert_eq!(digest(&*reader), bench.digest(), "{name}");
    }
}

#[test]
fn open_vmdk() {
    let Some(judges) = Judges::present() else { return };
    let bench = Bench::new((9 << 20) + 65536, 40, 78);
    let options = ["", "-c 1", "-c 9", "-n 1", "-n 4 --noreorder", "-t 12325", "-s 4096"];
    let script: String = options
        .iter()
        .enumerate()
        .map(|(index, options)| format!("vmdk-convert {options} source.raw {index}.vmdk\n"))
        .collect();
    judges.run(&bench, &script);
    for (index, options) in options.iter().enumerate() {
        let reader = open(&bench.path(&format!("{index}.vmdk")), None, &bench.policy()).unwrap();
        assert_eq!(reader.info().format, Format::Vmdk);
        assert_eq!(digest(&*reader), bench.digest(), "{options}");
    }
}
