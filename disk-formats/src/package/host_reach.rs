//! What of VirtualBox's own description of a machine leads to the host that imports it: files, devices and ports there that whoever made the
//! package has named. VirtualBox takes most of it over without a word. What is not known to be the guest's alone counts as such, too.

mod found;
mod inside;
mod leading;
mod network;
pub(super) mod saying;

use self::found::{Card, Found, MOST, bare, is_on, number, path, said, shown};
use self::saying::HostReach;
use super::packaged::quoted;
use super::xml_tree::Element;

/// Finds all of them in the elements of machines, wherever they are in the document: VirtualBox's versions look at several places.
pub(super) fn of(document: &Element) -> Vec<HostReach> {
    let disks = document.children.iter().flat_map(|section| section.all("Disk"));
    let packed = disks.filter_map(|disk| said(disk, "uuid")).map(|uuid| bare(uuid).to_owned());
    let mut found = Found { packed: packed.collect(), ..Found::default() };
    let mut open = vec![document];
    while let Some(element) = open.pop() {
        if element.name == "Machine" {
            found.filters = 0;
            found.walk(element, &mut Vec::new(), Card::default());
        } else {
            open.extend(element.children.iter().rev());
        }
    }
    found.reaches
}

impl Found {
    /// Looks at an element, and at all that is in it. `above`: the elements that it is in, the machine's first.
    fn walk<'a>(&mut self, element: &'a Element, above: &mut Vec<&'a Element>, card: Card) {
        if self.reaches.len() > MOST {
            return;
        }
        let parent = above.last().map_or("", |parent| parent.name.as_str());
        let known = inside::attributes_of(parent, &element.name);
        above.push(element);
        match known {
            Some(known) => {
                self.name_unknown(element, known, above);
                let card = match element.name.as_str() {
                    "Adapter" => Card { number: number(element), is_used: is_on(element, "enabled") },
                    "DisabledModes" => Card { is_used: false, ..card },
                    _ => card,
                };
                self.judge(element, &above[..above.len() - 1], card);
                element.children.iter().for_each(|child| self.walk(child, above, card));
            }
            None => self.take(format!("{}, which is not known", path(above)), Vec::new()),
        }
        above.pop();
    }

    /// Names the attributes that are not known, and those that are there twice: VirtualBox may read either.
    fn name_unknown(&mut self, element: &Element, known: &str, above: &[&Element]) {
        let names: Vec<&str> = element.attributes().map(|(name, _)| name).collect();
        for (index, (name, value)) in element.attributes().enumerate() {
            if names[..index].contains(&name) {
                self.take(format!("{} {}, which is said twice", path(above), shown(name)), Vec::new());
            } else if !known.split(' ').any(|known| known == name) {
                let setting = format!("{} {} = {}", path(above), shown(name), quoted(value));
                self.take(format!("{setting}, which is not known"), Vec::new());
            }
        }
    }
}

#[cfg(test)]
mod tests;
