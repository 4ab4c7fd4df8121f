//! Warm-up: today's limit of a new server. Pure.

use jiff::civil::Date;

use crate::resources::sending_server::Warmup;

/// The limit on a UTC day; `None` once warm-up is over. Before the first day, the first day's limit applies.
#[must_use]
pub fn limit_on(warmup: &Warmup, today: Date) -> Option<u64> {
    let day = u64::try_from(days_between(warmup.start_date, today)).unwrap_or(0);
    if let Some(schedule) = &warmup.schedule {
        return usize::try_from(day).ok().and_then(|day| schedule.get(day)).copied();
    }
    if let Some(linear) = &warmup.linear {
        let limit = linear.first_day.saturating_add(linear.daily_increase.saturating_mul(day));
        return (limit < linear.target).then_some(limit);
    }
    let exponential = warmup.exponential.as_ref()?;
    let mut limit = u128::from(exponential.first_day);
    for _ in 0..day {
        // Rounded up, so that even a small start grows.
        limit = (limit * (100 + u128::from(exponential.growth_percent))).div_ceil(100);
        if limit >= u128::from(exponential.target) {
            return None;
        }
    }
    u64::try_from(limit).ok().filter(|limit| *limit < exponential.target)
}

fn days_between(from: Date, to: Date) -> i64 {
    from.until(to).map_or(0, |span| i64::from(span.get_days()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schedule_grows_from_its_first_day_to_its_end() {
        let cases = [
            (
                "exponential: {firstDay: 50, growthPercent: 30, target: 200}",
                vec![Some(50), Some(65), Some(85), Some(111), Some(145), Some(189), None, None],
            ),
            ("linear: {firstDay: 50, dailyIncrease: 50, target: 200}", vec![Some(50), Some(100), Some(150), None, None]),
            ("schedule: [10, 20, 0]", vec![Some(10), Some(20), Some(0), None]),
        ];
        for (yaml, limits) in cases {
            let warmup: Warmup = serde_saphyr::from_str(&format!("startDate: 2026-12-01\n{yaml}")).expect(yaml);
            let start = warmup.start_date;
            for (day, limit) in (0_i64..).zip(limits) {
                let today = start.checked_add(jiff::Span::new().days(day)).expect("a day");
                assert_eq!(limit_on(&warmup, today), limit, "{yaml} on day {day}");
            }
            assert_eq!(limit_on(&warmup, start.yesterday().expect("a day")), limit_on(&warmup, start), "{yaml} before it starts");
        }
    }
}
