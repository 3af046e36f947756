//! Graphs of the last ten minutes, as SVG inside the page.

use super::{history::SAMPLES, html::Html};

/// Size of a plot in its own units; the page stretches it.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

/// A graph with its heading and its legend.
pub struct Graph {
    pub title: &'static str,
    /// What it shows at the moment.
    pub now: String,
    pub unit: Unit,
    pub form: Form,
    pub series: Vec<Series>,
    /// Top of the scale, where that does not follow from the values.
    pub top: Option<f64>,
}

/// One value over time.
pub struct Series {
    pub name: String,
    /// Class of the colour, as the style sheet has it.
    pub colour: &'static str,
    /// Oldest first; the last one is now. `None`: nothing to show at that time.
    pub points: Vec<Option<f64>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Lines,
    /// Areas on top of each other.
    Stack,
}

#[derive(Clone, Copy)]
pub enum Unit {
    PerSecond,
    Seconds,
    Ratio,
}

impl Unit {
    /// The value as a reader wants it.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{}/s", short(value)),
            Self::Ratio => format!("{} %", short(value * 100.0)),
            Self::Seconds if value >= 1.0 => format!("{} s", short(value)),
            Self::Seconds if value >= 0.001 => format!("{} ms", short(value * 1e3)),
            Self::Seconds => format!("{} µs", short(value * 1e6)),
        }
    }
}

/// Three digits that matter.
fn short(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value >= 1e6 => format!("{:.1}M", value / 1e6),
        value if value >= 1e4 => format!("{:.0}k", value / 1e3),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => trimmed(format!("{value:.1}")),
        value => trimmed(format!("{value:.2}")),
    }
}

fn trimmed(number: String) -> String {
    match number.contains('.') {
        true => number
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
        false => number,
    }
}

impl Graph {
    pub fn write(&self, html: &mut Html) {
        let stacked = self.stacked();
        let highest = stacked
            .iter()
            .flatten()
            .flatten()
            .copied()
            .fold(0.0, f64::max);
        let top = self.top.unwrap_or_else(|| round_up(highest));
        html.raw("<section class=card><h2>").text(self.title);
        html.raw(" <b>").text(&self.now).raw("</b></h2>");
        html.raw("<div class=plot><svg viewBox=\"0 0 600 120\" preserveAspectRatio=none role=img aria-label=\"");
        html.text(self.title)
            .raw(", last ten minutes: ")
            .text(&self.now)
            .raw("\">");
        html.raw(
            "<path class=grid d=\"M0 0H600M0 60H600M0 120H600M150 0V120M300 0V120M450 0V120\"/>",
        );
        // From the highest area to the lowest, so that each shows what it adds.
        for (series, points) in self.series.iter().zip(&stacked).rev() {
            self.draw(html, series, points, top);
        }
        html.raw("</svg><i class=hi>").text(self.unit.show(top));
        html.raw("</i><i class=mid>")
            .text(self.unit.show(top / 2.0));
        html.raw("</i></div><p class=time><span>10 min ago</span><span>5 min ago</span><span>now</span></p>");
        self.legend(html);
        html.raw("</section>");
    }

    /// The points as they are drawn.
    fn stacked(&self) -> Vec<Vec<Option<f64>>> {
        let mut sums = vec![0.0; SAMPLES];
        let pile = |series: &Series| {
            let skipped = SAMPLES.saturating_sub(series.points.len());
            let points = series.points.iter().zip(&mut sums[skipped..]);
            points
                .map(|(point, sum)| {
                    let point = (*point)?;
                    *sum += point;
                    Some(if self.form == Form::Stack {
                        *sum
                    } else {
                        point
                    })
                })
                .collect()
        };
        self.series.iter().map(pile).collect()
    }

    fn draw(&self, html: &mut Html, series: &Series, points: &[Option<f64>], top: f64) {
        let skipped = SAMPLES.saturating_sub(points.len());
        let x = |position: usize| (skipped + position) as f64 * WIDTH / (SAMPLES - 1) as f64;
        let y = |value: f64| HEIGHT - (value / top).clamp(0.0, 1.0) * HEIGHT;
        for (start, run) in runs(points) {
            let end = start + run.len() - 1;
            html.raw("<path class=\"").text(series.colour);
            html.raw(if self.form == Form::Stack {
                " area\" d=\"M"
            } else {
                " line\" d=\"M"
            });
            if self.form == Form::Stack {
                html.text(format_args!("{:.1} {HEIGHT}L", x(start)));
            }
            for (offset, value) in run.iter().enumerate() {
                html.text(format_args!("{:.1} {:.1} ", x(start + offset), y(*value)));
            }
            if self.form == Form::Stack {
                html.text(format_args!("{:.1} {HEIGHT}Z", x(end)));
            } else if run.len() == 1 {
                // A point alone, between two times without a value.
                html.raw("h2");
            }
            html.raw("\"/>");
        }
    }

    fn legend(&self, html: &mut Html) {
        html.raw("<ul class=legend>");
        for series in &self.series {
            html.raw("<li class=\"")
                .text(series.colour)
                .raw("\">")
                .text(&series.name);
            if let Some(Some(last)) = series.points.last() {
                html.raw(" <b>").text(self.unit.show(*last)).raw("</b>");
            }
            html.raw("</li>");
        }
        html.raw("</ul>");
    }
}

/// Points without a gap between them, each run with the position of its first.
fn runs(points: &[Option<f64>]) -> Vec<(usize, Vec<f64>)> {
    let mut runs: Vec<(usize, Vec<f64>)> = Vec::new();
    for (position, point) in points.iter().enumerate() {
        let Some(value) = point else { continue };
        match runs.last_mut() {
            Some((start, run)) if *start + run.len() == position => run.push(*value),
            _ => runs.push((position, vec![*value])),
        }
    }
    runs
}

/// The next of 1, 2, 5, 10, 20, 50 and so on, so that the scale is even.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 1.0;
    }
    let magnitude = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let step = steps
        .iter()
        .find(|step| value <= **step * magnitude * 1.000_001);
    step.unwrap_or(&10.0) * magnitude
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(form: Form, series: &[&[Option<f64>]]) -> String {
        let series = series.iter().map(|points| Series {
            name: "<one>".to_owned(),
            colour: "a",
            points: points.to_vec(),
        });
        let graph = Graph {
            title: "Things",
            now: "1/s".to_owned(),
            unit: Unit::PerSecond,
            form,
            series: series.collect(),
            top: None,
        };
        let mut html = Html::default();
        graph.write(&mut html);
        String::from_utf8(html.into_bytes()).unwrap()
    }

    #[test]
    fn lines_end_now_and_have_gaps() {
        let text = drawn(Form::Lines, &[&[Some(1.0), None, Some(2.0), Some(0.0)]]);
        assert!(text.contains("M595.0 0.0 600.0 120.0 "), "{text}");
        assert!(text.contains("M584.9 60.0 h2"), "{text}");
        assert!(text.contains("&lt;one&gt;"), "{text}");
    }

    #[test]
    fn areas_lie_on_each_other() {
        let text = drawn(
            Form::Stack,
            &[&[Some(1.0), Some(1.0)], &[Some(1.0), Some(0.0)]],
        );
        assert!(
            text.contains("M595.0 120L595.0 0.0 600.0 60.0 600.0 120Z"),
            "{text}"
        );
        assert!(
            text.contains("M595.0 120L595.0 60.0 600.0 60.0 600.0 120Z"),
            "{text}"
        );
    }

    #[test]
    fn nothing_at_all_is_drawn_too() {
        assert!(drawn(Form::Stack, &[&[], &[None]]).contains("</svg>"));
    }

    #[test]
    fn numbers_read_well() {
        for (unit, value, shown) in [
            (Unit::PerSecond, 0.0, "0/s"),
            (Unit::PerSecond, 1234.0, "1234/s"),
            (Unit::PerSecond, 23_456.0, "23k/s"),
            (Unit::Ratio, 0.995, "99.5 %"),
            (Unit::Ratio, 1.0, "100 %"),
            (Unit::Seconds, 0.000_45, "450 µs"),
            (Unit::Seconds, 0.0123, "12.3 ms"),
            (Unit::Seconds, 2.5, "2.5 s"),
        ] {
            assert_eq!(unit.show(value), shown);
        }
        assert_eq!(
            (round_up(0.7), round_up(20.0), round_up(21.0)),
            (1.0, 20.0, 50.0)
        );
    }
}
