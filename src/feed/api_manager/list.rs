//! The rows of `{"count":…,"list":[…]}`, one after the other, from a text that may be long.
//!
//! Only strings and brackets are looked at here, so that a row which is not JSON, or is too long, costs
//! itself and no other. Nothing is kept but one row.

use std::io::{self, BufRead, BufReader, Read};

/// Longest row, in bytes. That of an API names all its resources.
const MAX_ROW_BYTES: usize = 4 << 20;
const BUFFER_BYTES: usize = 64 * 1024;

/// Reads such a text.
pub struct List<R> {
    text: BufReader<R>,
    state: State,
    row: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is read yet.
    Fresh,
    /// Before the first row.
    Opened,
    /// After a row.
    Between,
    /// After the last row and all that follows it.
    Done,
}

/// A row as it stands, or that it is too long to be one.
pub enum RawRow<'a> {
    Text(&'a [u8]),
    TooLong,
}

/// Why there is no whole list.
#[derive(Debug)]
pub enum Broken {
    /// The text ends early, or is no such list.
    Form,
    Io(io::Error),
}

impl<R: Read> List<R> {
    pub fn new(text: R) -> Self {
        Self {
            text: BufReader::with_capacity(BUFFER_BYTES, text),
            state: State::Fresh,
            row: Vec::new(),
        }
    }

    /// The next row; `None` after the last one, when the whole text has been seen and nothing is wrong
    /// with it.
    ///
    /// # Errors
    /// What was read before is then not all that there is.
    pub fn next(&mut self) -> Result<Option<RawRow<'_>>, Broken> {
        match self.state {
            State::Fresh => {
                self.open()?;
                self.state = State::Opened;
            }
            State::Opened | State::Between => {}
            State::Done => return Ok(None),
        }
        let first = self.solid()?;
        match (first, self.state) {
            (b']', _) => {
                self.take()?;
                self.close()?;
                self.state = State::Done;
                return Ok(None);
            }
            (b',', State::Between) => {
                self.take()?;
                self.solid()?;
            }
            (_, State::Opened) => {}
            _ => return Err(Broken::Form),
        }
        self.state = State::Between;
        self.row.clear();
        let mut row = std::mem::take(&mut self.row);
        let whole = self.value(Some(&mut row));
        self.row = row;
        Ok(Some(match whole? {
            true => RawRow::Text(&self.row),
            false => RawRow::TooLong,
        }))
    }

    /// Up to the first row.
    fn open(&mut self) -> Result<(), Broken> {
        self.expect(b'{')?;
        loop {
            let is_list = self.key()?;
            if is_list {
                return self.expect(b'[');
            }
            self.solid()?;
            self.value(None)?;
            self.expect(b',')?;
        }
    }

    /// From the end of the rows to that of the text.
    fn close(&mut self) -> Result<(), Broken> {
        while self.solid()? == b',' {
            self.take()?;
            // A second list would leave open which one is meant.
            if self.key()? {
                return Err(Broken::Form);
            }
            self.solid()?;
            self.value(None)?;
        }
        self.expect(b'}')?;
        match self.peek_solid()? {
            None => Ok(()),
            Some(_) => Err(Broken::Form),
        }
    }

    /// A name with its colon; whether it is that of the list.
    fn key(&mut self) -> Result<bool, Broken> {
        if self.solid()? != b'"' {
            return Err(Broken::Form);
        }
        self.row.clear();
        let mut key = std::mem::take(&mut self.row);
        let whole = self.value(Some(&mut key));
        self.row = key;
        self.expect(b':')?;
        Ok(whole? && self.row == b"\"list\"")
    }

    /// A value, whose first byte is the next one; false where it is too long, which leaves a part of it
    /// in `into`.
    fn value(&mut self, mut into: Option<&mut Vec<u8>>) -> Result<bool, Broken> {
        let mut scan = Scan::default();
        let mut whole = true;
        loop {
            let part = self.text.fill_buf().map_err(Broken::Io)?;
            if part.is_empty() {
                return Err(Broken::Form);
            }
            let (length, ended) = scan.advance(part);
            if let Some(into) = into.as_deref_mut() {
                let room = MAX_ROW_BYTES - into.len();
                whole &= length <= room;
                into.extend_from_slice(&part[..length.min(room)]);
            }
            self.text.consume(length);
            if ended {
                // Nothing at all, as between two commas, is no value.
                return match scan.empty {
                    true => Err(Broken::Form),
                    false => Ok(whole),
                };
            }
        }
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Broken> {
        match self.solid()? == wanted {
            true => self.take(),
            false => Err(Broken::Form),
        }
    }

    /// The next byte that is not white space, which is left there.
    fn solid(&mut self) -> Result<u8, Broken> {
        self.peek_solid()?.ok_or(Broken::Form)
    }

    fn peek_solid(&mut self) -> Result<Option<u8>, Broken> {
        loop {
            let part = self.text.fill_buf().map_err(Broken::Io)?;
            let solid = part.iter().position(|byte| !byte.is_ascii_whitespace());
            match solid {
                Some(position) => {
                    let byte = part[position];
                    self.text.consume(position);
                    return Ok(Some(byte));
                }
                None if part.is_empty() => return Ok(None),
                None => {
                    let length = part.len();
                    self.text.consume(length);
                }
            }
        }
    }

    fn take(&mut self) -> Result<(), Broken> {
        self.text.consume(1);
        Ok(())
    }
}

/// Where in a value a reader is.
struct Scan {
    depth: usize,
    in_string: bool,
    escaped: bool,
    empty: bool,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            depth: 0,
            in_string: false,
            escaped: false,
            empty: true,
        }
    }
}

impl Scan {
    /// How much of `part` belongs to the value, and whether that was its end.
    fn advance(&mut self, part: &[u8]) -> (usize, bool) {
        for (position, byte) in part.iter().enumerate() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => {
                        self.in_string = false;
                        if self.depth == 0 {
                            return (position + 1, true);
                        }
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                // What a plain value ends before.
                b'}' | b']' | b',' if self.depth == 0 => return (position, true),
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        self.empty = false;
                        return (position + 1, true);
                    }
                }
                byte if self.depth == 0 && byte.is_ascii_whitespace() => return (position, true),
                _ => {}
            }
            self.empty = false;
        }
        (part.len(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its text in pieces of one length.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(into.len()).min(self.0.len());
            into[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    fn rows_in_pieces(text: &[u8], length: usize) -> Option<Vec<String>> {
        let mut list = List::new(Pieces(text, length));
        let mut rows = Vec::new();
        while let Some(row) = list.next().ok()? {
            rows.push(match row {
                RawRow::Text(text) => String::from_utf8_lossy(text).into_owned(),
                RawRow::TooLong => "too long".to_owned(),
            });
        }
        // It stays at its end.
        assert!(list.next().is_ok_and(|row| row.is_none()));
        Some(rows)
    }

    fn rows(text: &str) -> Option<Vec<String>> {
        let whole = rows_in_pieces(text.as_bytes(), usize::MAX);
        for length in [1, 2, 7] {
            assert_eq!(rows_in_pieces(text.as_bytes(), length), whole, "{text}");
        }
        whole
    }

    #[test]
    fn rows_come_one_by_one() {
        let cases = [
            (r#"{"count":0,"list":[]}"#, vec![]),
            (r#"{"list":[{"a":1}]}"#, vec![r#"{"a":1}"#]),
            (
                r#" { "count" : 2 , "list" : [ {"a":"]},"} , {"b":[{}]} ] , "pagination" : { "next":"" } } "#,
                vec![r#"{"a":"]},"}"#, r#"{"b":[{}]}"#],
            ),
            (
                r#"{"list":["\"],\\",null,-1.5e3,[],true]}"#,
                vec![r#""\"],\\""#, "null", "-1.5e3", "[]", "true"],
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(
                rows(text).as_deref(),
                Some(&wanted.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
                "{text}"
            );
        }
    }

    #[test]
    fn a_row_that_is_not_json_is_only_itself() {
        let text = b"{\"list\":[{\"a\":\"\xff\"},{\"a\" 1},{\"a\":1}]}";
        assert_eq!(rows_in_pieces(text, 3).unwrap().len(), 3);
    }

    #[test]
    fn what_is_not_whole_is_broken() {
        let whole = r#"{"count":2,"list":[{"a":"b"},{"c":[1]}],"pagination":{}}"#;
        assert_eq!(rows(whole).unwrap().len(), 2);
        for length in 0..whole.len() {
            assert!(rows(&whole[..length]).is_none(), "{}", &whole[..length]);
        }
        for text in [
            "",
            "null",
            "[]",
            "<html>",
            r#"{"error":{"list":[]}}"#,
            r#"{"list":null}"#,
            r#"{"list":{}}"#,
            r#"{"list":[,]}"#,
            r#"{"list":[1,]}"#,
            r#"{"list":[1 2]}"#,
            r#"{"list":[1}]}"#,
            r#"{"list":[]}}"#,
            r#"{"list":[]}{"list":[]}"#,
            r#"{"list":[1],"list":[2]}"#,
        ] {
            assert!(rows(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_row_without_end_is_not_kept() {
        let text = format!(r#"{{"list":["{}",1]}}"#, "x".repeat(MAX_ROW_BYTES));
        assert_eq!(
            rows_in_pieces(text.as_bytes(), usize::MAX).unwrap(),
            ["too long", "1"]
        );
    }
}
