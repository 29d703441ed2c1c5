//! Medians, spreads, and ratios within rounds.

/// What one server showed in one case, a figure per round; `None` where the run failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series(Vec<Option<f64>>);

impl Series {
    /// Adds the figure of the next round.
    pub fn push(&mut self, figure: Option<f64>) {
        self.0.push(figure);
    }

    /// The figures of all rounds.
    #[must_use]
    pub fn all(&self) -> &[Option<f64>] {
        &self.0
    }

    /// The median; `None` where every round failed.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        median(self.0.iter().copied().flatten().collect())
    }

    /// How far the figures lie apart, as a share of the median.
    #[must_use]
    pub fn spread(&self) -> Option<f64> {
        let figures = || self.0.iter().copied().flatten();
        let (least, most) = (figures().reduce(f64::min)?, figures().reduce(f64::max)?);
        Some((most - least) / self.median()?)
    }

    /// The median of what each round says of `self` against `other`; rounds that lack either are left
    /// out.
    #[must_use]
    pub fn against(&self, other: &Self) -> Option<f64> {
        let pairs = self.0.iter().zip(&other.0);
        let ratios = pairs.filter_map(|(ours, theirs)| Some((*ours)? / (*theirs)?));
        median(ratios.collect())
    }
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let upper = *figures.get(middle)?;
    if figures.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(figures[middle - 1], upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(figures: &[f64]) -> Series {
        let known = |figure: &f64| (*figure > 0.0).then_some(*figure);
        Series(figures.iter().map(known).collect())
    }

    #[test]
    fn the_median_leaves_failed_rounds_out() {
        assert_eq!(series(&[5.0, 0.0, 1.0, 3.0]).median(), Some(3.0));
        assert_eq!(series(&[4.0, 1.0]).median(), Some(2.5));
        assert_eq!(series(&[0.0]).median(), None);
        assert_eq!(Series::default().median(), None);
    }

    #[test]
    fn the_spread_is_a_share_of_the_median() {
        assert_eq!(series(&[8.0, 10.0, 13.0]).spread(), Some(0.5));
        assert_eq!(series(&[0.0]).spread(), None);
    }

    #[test]
    fn a_ratio_is_taken_within_rounds() {
        // A machine that gets twice as slow in the second round changes nothing.
        let (ours, theirs) = (series(&[1.0, 2.0, 0.0]), series(&[2.0, 4.0, 9.0]));
        assert_eq!(ours.against(&theirs), Some(0.5));
        assert_eq!(ours.against(&series(&[0.0, 0.0, 1.0])), None);
        // And differs from the ratio of the medians.
        let (ours, theirs) = (series(&[1.0, 9.0, 9.0]), series(&[1.0, 1.0, 9.0]));
        assert_eq!(ours.against(&theirs), Some(1.0));
    }
}
