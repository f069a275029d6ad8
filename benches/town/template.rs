//! What a simulated Clerk says of one object, to be said of any number of others.

/// A text with gaps.
pub(crate) struct Template<Gap>(Vec<(String, Option<Gap>)>);

impl<Gap: Copy> Template<Gap> {
    /// A gap is wherever one of these texts stands.
    pub(crate) fn new(text: &str, gaps: &[(&str, Gap)]) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        let next = |rest: &str| {
            let found = gaps.iter().filter_map(|(what, gap)| Some((rest.find(what)?, what.len(), *gap)));
            found.min_by_key(|(at, ..)| *at)
        };
        while let Some((at, length, gap)) = next(rest) {
            pieces.push((rest[..at].to_owned(), Some(gap)));
            rest = &rest[at + length..];
        }
        pieces.push((rest.to_owned(), None));
        Self(pieces)
    }

    /// Writes it, with `fill` for the gaps.
    pub(crate) fn write(&self, out: &mut String, fill: impl Fn(&mut String, Gap)) {
        for (text, gap) in &self.0 {
            out.push_str(text);
            if let Some(gap) = gap {
                fill(out, *gap);
            }
        }
    }
}
