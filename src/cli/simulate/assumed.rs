//! What is assumed: as it is typed, and in words.

use std::str::FromStr;

use super::stretches::length;
use crate::{
    meta::bound::counted,
    resources::{Duration, Key},
    simulate::{Assumptions, Outage, PEOPLE_MAX, Rejection},
};

/// `SERVER@+AFTER/FOR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away {
    /// The server's name.
    pub server: String,
    after: Duration,
    lasts: Duration,
}

impl FromStr for Away {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || format!("`{text}` is no outage; write SERVER@+AFTER/FOR, such as relay@+2h/30m");
        let (server, rest) = text.rsplit_once('@').ok_or_else(shape)?;
        let (after, lasts) = rest.split_once('/').ok_or_else(shape)?;
        if server.is_empty() {
            return Err(shape());
        }
        let after = after.strip_prefix('+').ok_or_else(shape)?;
        Ok(Self { server: server.to_owned(), after: after.parse()?, lasts: lasts.parse()? })
    }
}

impl Away {
    /// The outage of a server that the name means.
    pub fn outage(&self, server: Key, from_ms: i64) -> Outage {
        let from_ms = from_ms.saturating_add(self.after.as_millis());
        Outage { server, from_ms, to_ms: from_ms.saturating_add(self.lasts.as_millis()) }
    }
}

/// `[SERVER=]PERCENT`.
#[derive(Clone, Debug, PartialEq)]
pub struct Percentage {
    /// The server's name; all servers when absent.
    pub server: Option<String>,
    percent: f64,
}

impl FromStr for Percentage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (server, percent) = text.rsplit_once('=').map_or((None, text), |(server, percent)| (Some(server.to_owned()), percent));
        let number: Option<f64> = percent.strip_suffix('%').and_then(|number| number.parse().ok());
        let percent = number.filter(|percent| (0.0..=100.0).contains(percent)).filter(|_| server.as_deref() != Some(""));
        let percent = percent.ok_or_else(|| format!("`{text}` is no share of recipients; write 3%, or SERVER=3%"))?;
        Ok(Self { server, percent })
    }
}

impl Percentage {
    /// The rejections of a server that the name means.
    pub fn rejection(&self, server: Option<Key>) -> Rejection {
        Rejection { server, percent: self.percent }
    }
}

/// `[CAMPAIGN=]N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipients {
    /// The campaign's name; all campaigns whose people cannot be counted when absent.
    pub campaign: Option<String>,
    /// How many.
    pub count: u64,
}

impl FromStr for Recipients {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (campaign, count) = text.rsplit_once('=').map_or((None, text), |(campaign, count)| (Some(campaign.to_owned()), count));
        let digits: String = count.chars().filter(|c| !matches!(c, ',' | '_')).collect();
        let count: Option<u64> = digits.parse().ok().filter(|_| campaign.as_deref() != Some(""));
        match count {
            Some(count) if count <= PEOPLE_MAX => Ok(Self { campaign, count }),
            Some(_) => Err(format!("no more than {} people of a campaign are simulated", crate::meta::bound::grouped(PEOPLE_MAX))),
            None => Err(format!("`{text}` is no number of recipients; write 100000, or CAMPAIGN=100000")),
        }
    }
}

/// The assumptions in words; `read` are those about objects and audiences.
pub fn words(assumptions: &Assumptions, read: &[String], round_trip: Duration) -> Vec<String> {
    let mut words =
        vec![format!("Servers pass their test, take every message that they are not said to reject, and answer after {round_trip}.")];
    let outage = |outage: &Outage| {
        let after = length(outage.from_ms - assumptions.from_ms);
        format!("{} is away after {after}, for {}.", outage.server, length(outage.to_ms - outage.from_ms))
    };
    words.extend(assumptions.outages.iter().map(outage));
    words.extend(assumptions.rejections.iter().map(|rejection| match &rejection.server {
        None => format!("{}% of the addresses are dead.", rejection.percent),
        Some(server) => format!("{server} rejects {}% of the recipients.", rejection.percent),
    }));
    if assumptions.promotes {
        words.push("Rollouts that wait for a person are promoted at once.".to_owned());
    }
    words.push(
        "Accepted messages produce no feedback: no bounces, no complaints and no unsubscriptions. Nobody is on the suppression list."
            .to_owned(),
    );
    words.extend(read.iter().cloned());
    words
}

/// `3 people`, for sentences.
pub fn people(count: u64) -> String {
    counted(count, "person", "people")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_read_or_refused_with_the_shape() {
        let away: Away = "shop/relay@+2h/30m".parse().expect("good");
        let outage = away.outage(Key::new("shop", "relay"), 1_000);
        assert_eq!((away.server.as_str(), outage.from_ms, outage.to_ms), ("shop/relay", 7_201_000, 9_001_000));
        for bad in ["relay", "relay@2h/30m", "relay@+2h", "@+2h/30m", "relay@+2h/soon"] {
            assert!(bad.parse::<Away>().is_err(), "{bad}");
        }
        let rejected: Percentage = "relay=2.5%".parse().expect("good");
        assert_eq!((rejected.server.as_deref(), rejected.percent), (Some("relay"), 2.5));
        for bad in ["3", "101%", "-1%", "=3%", "many%"] {
            assert!(bad.parse::<Percentage>().is_err(), "{bad}");
        }
        let people: Recipients = "spring=10,000".parse().expect("good");
        assert_eq!((people.campaign.as_deref(), people.count), (Some("spring"), 10_000));
        for bad in ["", "x", "spring=", "=5", "99999999999"] {
            assert!(bad.parse::<Recipients>().is_err(), "{bad}");
        }
    }
}
