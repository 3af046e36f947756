//! `compression`: which codings answers may have.

use crate::{config::section::Section, domain::Coding};

/// In the order of the file, which decides between those that a caller likes as much.
pub fn compression(section: &mut Section<'_>) -> Box<[Coding]> {
    let Some(list) = section.texts("compression") else {
        return Box::default();
    };
    let mut codings = Vec::new();
    for name in list.value {
        let coding = Coding::ALL
            .into_iter()
            .find(|coding| coding.name() == name.value);
        match coding {
            Some(coding) if codings.contains(&coding) => {
                let what = format!("{:?} stands here twice", name.value);
                section.error(&name.place, what, "keep one of them");
            }
            Some(coding) => codings.push(coding),
            None => {
                let what = format!("{:?} is not a coding that the gateway knows", name.value);
                section.error(&name.place, what, "one of zstd, br, gzip");
            }
        }
    }
    codings.into()
}
