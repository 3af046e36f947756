//! HTML that cannot be broken out of: what is not written in this program is escaped.

use std::fmt::{self, Display, Write};

/// A page in the making.
#[derive(Default)]
pub struct Html(String);

impl Html {
    /// Markup, as it stands in this program.
    pub fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Anything else: inside an element, or between the quotes of an attribute.
    pub fn text(&mut self, text: impl Display) -> &mut Self {
        // Writing to memory cannot fail.
        let _ = write!(Escape(&mut self.0), "{text}");
        self
    }

    /// A cell of a table.
    pub fn cell(&mut self, text: impl Display) -> &mut Self {
        self.raw("<td>").text(text).raw("</td>")
    }

    /// A cell with a number, which stands on the right.
    pub fn number(&mut self, text: impl Display) -> &mut Self {
        self.raw("<td class=n>").text(text).raw("</td>")
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

struct Escape<'a>(&'a mut String);

impl Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            match letter {
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '&' => self.0.push_str("&amp;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Also those that turn the direction of writing.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.0.push('\u{fffd}'),
                letter if letter.is_control() => self.0.push('\u{fffd}'),
                letter => self.0.push(letter),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out() {
        let mut html = Html::default();
        html.raw("<p title=\"")
            .text("\"><script>alert('x')</script>&\u{1b}[31m\n\u{202e}")
            .raw("\">");
        assert_eq!(
            String::from_utf8(html.into_bytes()).unwrap(),
            "<p title=\"&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;\u{fffd}[31m\
             \u{fffd}\u{fffd}\">"
        );
    }
}
