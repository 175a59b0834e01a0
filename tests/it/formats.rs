//! Every row of the table of formats from the command line to the file and back: `kiln convert` writes it, `kiln image` reads it, and
//! qemu-img judges it where it knows the format.

use std::path::Path;

use kiln_tests::Home;

use crate::images::{home, qemu_img};

/// A row of the page of formats, which is made from the table.
struct Row {
    names: Vec<String>,
    qemu_name: Option<String>,
    /// Options with all their values.
    options: Vec<(String, Vec<String>)>,
}

/// The words in backticks.
fn words(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The rows of the page's tables with so many cells, without the titles.
fn cells(page: &str, count: usize) -> Vec<Vec<&str>> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    lines.map(|line| line.split('|').map(str::trim).collect()).filter(|cells: &Vec<_>| cells.len() == count).collect()
}

fn rows() -> Vec<Row> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (formats, rest) = page.split_once("\n## Options").unwrap();
    let options = cells(rest, 4);
    let row = |cells: &Vec<&str>| Row {
        names: words(cells[1]),
        qemu_name: words(cells[3]).pop(),
        options: options.iter().filter(|option| option[0] == cells[0]).map(|option| values(option)).collect(),
    };
    cells(formats, 5).iter().filter(|cells| cells[0] != "format").map(row).collect()
}

/// The name of an option, and what it is set to here.
fn values(cells: &[&str]) -> (String, Vec<String>) {
    let values = match cells[2] {
        "size" => vec!["4k".to_owned()],
        "number" => vec!["14".to_owned()],
        listed => words(listed),
    };
    (words(cells[1]).pop().unwrap(), values)
}

/// Compares what an output holds with the disk that was converted.
fn read_back(home: &Home, file: &str, row: &Row) {
    // Of a package of several files its disk is read.
    let disk = format!("{}-disk1.vmdk", file.split_once('.').unwrap().0);
    let (disk, qemu_name) = match home.work(&disk).exists() {
        true => (disk.as_str(), Some("vmdk")),
        false => (file, row.qemu_name.as_deref()),
    };
    home.kiln(["image", "compare", "-s", "disk.raw", disk]).expect(0);
    if let Some(qemu_name) = qemu_name {
        let compared = qemu_img(home, &["compare", "-f", "raw", "-F", qemu_name, "disk.raw", disk]);
        assert!(compared.contains("identical"), "{file}: {compared}");
    }
    if row.options.iter().any(|(option, _)| option == "manifest") {
        home.kiln(["image", "verify", file]).expect(0);
    }
}

#[test]
fn every_row_of_the_table_of_formats_is_written_and_read_back() {
    let Some(home) = home() else { return };
    let rows = rows();
    let mut written: Vec<(String, &Row)> = Vec::new();
    let mut flags: Vec<String> = Vec::new();
    for row in &rows {
        written.extend(row.names.iter().map(|name| (format!("plain-{name}.{name}"), row)));
        for (option, values) in &row.options {
            for value in values {
                let file = format!("{option}-{value}-{0}.{0}", row.names[0]).replace("1.1", "v3");
                flags.extend(["-o".to_owned(), format!("{file}:{option}={value}")]);
                written.push((file, row));
            }
        }
    }
    assert!(rows.len() >= 9 && written.len() > 35, "the page was not understood: {}, {}", rows.len(), written.len());
    // All in one pass over the disk.
    let files = written.iter().map(|(file, _)| file);
    let line = ["convert".to_owned(), "-q".to_owned()].into_iter().chain(flags);
    home.kiln(line.chain(["disk.raw".to_owned()]).chain(files.cloned())).expect(0);
    for (file, row) in &written {
        read_back(&home, file, row);
    }
    assert!(home.leftovers().is_empty(), "{:?}", home.leftovers());
}
