//! What an operator should know of a document that was read.

use std::{cell::RefCell, ops::Range};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// The document cannot be served as it is.
    Error,
    /// Something in it is not taken over, or taken in another way.
    Warning,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub kind: NoteKind,
    /// What it is about.
    pub what: String,
    /// The first place; bytes of the document.
    pub at: Range<usize>,
    /// In how many places it is so.
    pub times: usize,
}

/// Collects notes; the same words are one note, however often they are said.
#[derive(Default)]
pub struct Notes(RefCell<Vec<Note>>);

impl Notes {
    pub fn error(&self, what: impl Into<String>, at: Range<usize>) {
        self.add(NoteKind::Error, what.into(), at);
    }

    pub fn warn(&self, what: impl Into<String>, at: Range<usize>) {
        self.add(NoteKind::Warning, what.into(), at);
    }

    fn add(&self, kind: NoteKind, what: String, at: Range<usize>) {
        const MOST: usize = 200;
        let mut notes = self.0.borrow_mut();
        if let Some(known) = notes.iter_mut().find(|note| note.what == what) {
            known.times += 1;
            return;
        }
        if notes.len() < MOST {
            notes.push(Note {
                kind,
                what,
                at,
                times: 1,
            });
        }
    }

    pub fn into_list(self) -> Vec<Note> {
        self.0.into_inner()
    }
}
