//! The measurements of ractor.

use std::sync::Arc;
use std::time::Instant;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call_t};
use tokio::sync::Notify;

use crate::{ASKS, IDLE, MANY, PATIENCE, ROUNDS_OF_THE_RING, SPAWNS, TELLS, resident};

struct Counter;

enum Message {
    Add,
    Get(RpcReplyPort<u64>),
}

impl Actor for Counter {
    type Msg = Message;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _myself: ActorRef<Message>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(&self, _myself: ActorRef<Message>, message: Message, count: &mut u64) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Add => *count += 1,
            Message::Get(reply) => reply.send(*count)?,
        }
        Ok(())
    }
}

struct Link;

enum Hop {
    Token(u64),
    Close(ActorRef<Hop>),
}

impl Actor for Link {
    type Msg = Hop;
    type State = (Option<ActorRef<Hop>>, Arc<Notify>);
    type Arguments = Self::State;

    async fn pre_start(&self, _myself: ActorRef<Hop>, arguments: Self::State) -> Result<Self::State, ActorProcessingErr> {
        Ok(arguments)
    }

    async fn handle(&self, _myself: ActorRef<Hop>, message: Hop, state: &mut Self::State) -> Result<(), ActorProcessingErr> {
        match (message, &state.0) {
            (Hop::Token(left), Some(next)) if left > 0 => next.cast(Hop::Token(left - 1))?,
            (Hop::Token(_), _) => state.1.notify_one(),
            (Hop::Close(first), _) => state.0 = Some(first),
        }
        Ok(())
    }
}

async fn counters(count: usize) -> Vec<ActorRef<Message>> {
    let mut actors = Vec::with_capacity(count);
    for _ in 0..count {
        actors.push(Actor::spawn(None, Counter, ()).await.unwrap().0);
    }
    actors
}

async fn get(actor: &ActorRef<Message>) -> u64 {
    call_t!(actor, Message::Get, PATIENCE.as_millis() as u64).unwrap()
}

pub async fn measure(row: String) -> f64 {
    match row.as_str() {
        "tell-1" => tell(1).await,
        "tell-1000" => tell(MANY).await,
        "ask" => {
            let actor = counters(1).await.remove(0);
            let started = Instant::now();
            for _ in 0..ASKS {
                get(&actor).await;
            }
            started.elapsed().as_secs_f64()
        }
        "spawn-stop" => {
            let started = Instant::now();
            let actors = counters(SPAWNS).await;
            for actor in &actors {
                actor.stop(None);
            }
            for actor in &actors {
                while actor.get_status() != ractor::ActorStatus::Stopped {
                    tokio::task::yield_now().await;
                }
            }
            started.elapsed().as_secs_f64()
        }
        "ring-1000" => {
            let done = Arc::new(Notify::new());
            let (mut next, mut last) = (None, None);
            for _ in 0..MANY {
                let actor = Actor::spawn(None, Link, (next, done.clone())).await.unwrap().0;
                last.get_or_insert_with(|| actor.clone());
                next = Some(actor);
            }
            let (first, last) = (next.unwrap(), last.unwrap());
            last.cast(Hop::Close(first.clone())).unwrap();
            let started = Instant::now();
            first.cast(Hop::Token((MANY * ROUNDS_OF_THE_RING) as u64)).unwrap();
            done.notified().await;
            started.elapsed().as_secs_f64()
        }
        _ => {
            let before = resident();
            let actors = counters(IDLE).await;
            let after = resident();
            assert_eq!(get(&actors[IDLE - 1]).await, 0);
            after - before
        }
    }
}

async fn tell(receivers: usize) -> f64 {
    let actors = counters(receivers).await;
    let started = Instant::now();
    for index in 0..TELLS {
        actors[index % receivers].cast(Message::Add).unwrap();
    }
    let mut total = 0;
    for actor in &actors {
        total += get(actor).await;
    }
    let took = started.elapsed().as_secs_f64();
    assert_eq!(total, TELLS as u64);
    took
}
