//! A primary and a replica, and all that can happen to them.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use seam_services::{Redis, RedisPair};

use crate::events::Dice;
use crate::proxy::{Mode, Proxy};

/// The servers, who is the primary, and the ways to it.
pub struct Servers {
    pair: [Redis; 2],
    primary: usize,
    workers: Vec<Arc<Proxy>>,
    others: Vec<Arc<Proxy>>,
    /// What was done, by kind.
    pub faults: BTreeMap<&'static str, usize>,
    /// How much was done.
    pub count: Arc<AtomicUsize>,
}

impl Servers {
    pub fn new(pair: RedisPair, workers: Vec<Arc<Proxy>>, others: Vec<Arc<Proxy>>) -> Servers {
        Servers {
            pair: [pair.primary, pair.replica],
            primary: 0,
            workers,
            others,
            faults: BTreeMap::new(),
            count: Arc::default(),
        }
    }

    /// Does one thing after the other until it is told to stop.
    pub fn torment(&mut self, dice: &mut Dice, stop: &AtomicBool) {
        while !stop.load(Ordering::SeqCst) {
            if let Some(kind) = self.strike(dice) {
                *self.faults.entry(kind).or_default() += 1;
            }
            self.count.store(self.faults.values().sum::<usize>() + self.struck(), Ordering::SeqCst);
            pause(dice, 5, 60);
        }
        self.heal();
    }

    /// What was done; requests are struck later, and counted by their proxies.
    fn strike(&mut self, dice: &mut Dice) -> Option<&'static str> {
        let worker = &self.workers[dice.below(self.workers.len() as u64) as usize];
        let kind = match dice.below(24) {
            0..=5 => {
                worker.strike(Mode::LoseReply);
                return None;
            }
            6..=10 => {
                worker.strike(Mode::Late(20 + dice.below(400)));
                return None;
            }
            11..=14 => {
                let key = self.say(&["--raw", "RANDOMKEY"]);
                self.say(&["DEL", &key]);
                "key deleted"
            }
            15 => {
                self.say(&["FLUSHALL"]);
                "FLUSHALL"
            }
            16..=17 => {
                self.say(&["CONFIG", "SET", "maxmemory", "1mb"]);
                pause(dice, 20, 100);
                self.say(&["CONFIG", "SET", "maxmemory", "0"]);
                "out of memory"
            }
            18 => {
                self.now().process.pause();
                pause(dice, 10, 400);
                self.now().process.resume();
                "server stopped"
            }
            19..=20 => {
                if dice.one_in(2) {
                    self.say(&["SAVE"]);
                    pause(dice, 5, 120);
                }
                self.now().process.restart();
                self.say(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
                "kill -9, restart"
            }
            21..=22 => {
                self.fail_over(dice);
                "failover to a lagging replica"
            }
            _ => {
                self.split(dice);
                "two primaries"
            }
        };
        Some(kind)
    }

    fn now(&self) -> &Redis {
        &self.pair[self.primary]
    }

    /// Runs a command on the primary; a server that is away at the moment has had its fault.
    fn say(&self, words: &[&str]) -> String {
        self.now().command(words).unwrap_or_default()
    }

    /// Kills the primary while the replica lags, and goes on with the replica.
    fn fail_over(&mut self, dice: &mut Dice) {
        let (old, new) = (self.primary, 1 - self.primary);
        self.pair[new].process.pause();
        pause(dice, 20, 250);
        self.pair[old].process.kill();
        self.pair[new].process.resume();
        self.promote(new);
        self.pair[old].process.restart();
        self.follow(old);
    }

    /// The replica is made primary while the old one lives and one worker still writes to it.
    fn split(&mut self, dice: &mut Dice) {
        let (old, new) = (self.primary, 1 - self.primary);
        let behind = dice.below(self.workers.len() as u64) as usize;
        let left = self.workers[behind].clone();
        self.promote(new);
        left.lead_to(self.pair[old].port);
        pause(dice, 30, 200);
        self.follow(old);
        left.lead_to(self.pair[new].port);
    }

    fn promote(&mut self, new: usize) {
        // While it loads what its old primary sent, it takes no commands.
        for _ in 0..200 {
            if self.pair[new].command(&["REPLICAOF", "NO", "ONE"]).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.primary = new;
        let port = self.pair[new].port;
        self.workers.iter().chain(&self.others).for_each(|proxy| proxy.lead_to(port));
    }

    fn follow(&self, replica: usize) {
        let port = self.now().port.to_string();
        // A server that is away is told with the next failover.
        let _ = self.pair[replica].command(&["REPLICAOF", "127.0.0.1", &port]);
    }

    /// Everything as it should be.
    fn heal(&mut self) {
        self.now().process.resume();
        self.say(&["CONFIG", "SET", "maxmemory", "0"]);
        self.workers.iter().for_each(|proxy| proxy.strike(Mode::Pass));
        self.promote(self.primary);
    }

    /// Requests that were struck on their way.
    pub fn struck(&self) -> usize {
        self.workers.iter().map(|proxy| proxy.struck()).sum()
    }
}

fn pause(dice: &mut Dice, least: u64, most: u64) {
    std::thread::sleep(Duration::from_millis(least + dice.below(most - least)));
}
