//! Statements that take turns, so that many long ones don't keep short ones waiting.
//!
//! Tokio gives every task that can go on a place in one queue. With a hundred long statements there are hundreds of such
//! tasks, and a statement that needs twenty steps waits twenty times for all of them. So a statement reads only while it
//! has a turn: as many turns at a time as there are processors, of a tenth of a second each, first come first served.
//! A statement's first turn is of a kind of its own: what is done within it never waits for what isn't.
//!
//! A turn ends by time alone, whether its statement reads, waits for its client or waits for another server: nobody can hold
//! one up. Where there are no more statements than turns, nobody waits.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::session::lock;

/// How long a turn is.
const TURN: Duration = Duration::from_millis(100);

/// The turns of an engine.
#[derive(Debug)]
pub struct Turns {
    first: Lane,
    further: Lane,
    length: Duration,
    /// What the ends of turns are counted from, in nanoseconds.
    start: Instant,
}

impl Turns {
    /// As many turns of each kind at a time as there are processors.
    pub fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::of(processors, TURN)
    }

    fn of(count: usize, length: Duration) -> Self {
        Self {
            first: Lane::new(count),
            further: Lane::new(count),
            length,
            start: Instant::now(),
        }
    }

    /// The plan of one statement, which reads only while the statement has a turn.
    ///
    /// # Errors
    /// Those of operators that don't take other inputs.
    pub fn taken_by(
        self: &Arc<Self>,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let statement = Arc::new(Statement::new(Arc::clone(self)));
        let taken = plan.transform_up(|node| {
            // Where rows come from, and where they become more of them: what else there is waits for these.
            let gives = node.children().is_empty() || node.is::<CooperativeExec>();
            Ok(match gives {
                true => Transformed::yes(Arc::new(TurnExec {
                    input: node,
                    statement: Arc::clone(&statement),
                }) as Arc<dyn ExecutionPlan>),
                false => Transformed::no(node),
            })
        })?;
        Ok(taken.data)
    }

    fn now(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A place among those that have a turn; it is given back when this is dropped, or taken when the turn is over.
type Place = Arc<Mutex<Option<OwnedSemaphorePermit>>>;

/// A turn that was given.
#[derive(Debug)]
struct Given {
    until: u64,
    place: Weak<Mutex<Option<OwnedSemaphorePermit>>>,
}

/// Turns of one kind: statements' first ones, or the others.
#[derive(Debug)]
struct Lane {
    places: Arc<Semaphore>,
    given: Mutex<Vec<Given>>,
}

impl Lane {
    fn new(count: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(count)),
            given: Mutex::default(),
        }
    }

    /// Waits for a turn: its end, and its place.
    async fn turn(&self, turns: &Turns) -> (u64, Place) {
        // It is never closed; if it were, everybody would have a turn.
        let permit = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => self.wait(turns).await,
        };
        let place = Arc::new(Mutex::new(permit));
        let until = turns.now() + nanoseconds(turns.length);
        let mut given = lock(&self.given);
        given.retain(|turn| turn.place.strong_count() > 0);
        given.push(Given {
            until,
            place: Arc::downgrade(&place),
        });
        (until, place)
    }

    /// Whoever waits takes the places whose turns are over: their statements needn't ask for rows meanwhile.
    async fn wait(&self, turns: &Turns) -> Option<OwnedSemaphorePermit> {
        let mut acquired = pin!(Arc::clone(&self.places).acquire_owned());
        loop {
            let next = self.end(turns.now());
            let pause = Duration::from_nanos(next.saturating_sub(turns.now()));
            tokio::select! {
                biased;
                permit = &mut acquired => return permit.ok(),
                () = tokio::time::sleep(pause.min(turns.length)) => {}
            }
        }
    }

    /// Ends the turns that are over, and says when the next one will be.
    fn end(&self, now: u64) -> u64 {
        let mut next = u64::MAX;
        for turn in lock(&self.given).iter() {
            match turn.place.upgrade() {
                Some(place) if turn.until <= now => drop(lock(&place).take()),
                Some(_) => next = next.min(turn.until),
                None => {}
            }
        }
        next
    }
}

/// A statement that is run.
struct Statement {
    turns: Arc<Turns>,
    /// When its turn is over; 0 before its first one.
    until: AtomicU64,
    /// Held by the part of it that waits for a turn, while the others wait for that one; and the place that it has.
    place: tokio::sync::Mutex<Option<Place>>,
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement").finish_non_exhaustive()
    }
}

impl Statement {
    fn new(turns: Arc<Turns>) -> Self {
        Self {
            turns,
            until: AtomicU64::new(0),
            place: tokio::sync::Mutex::default(),
        }
    }

    fn has_turn(&self) -> bool {
        self.turns.now() < self.until.load(Ordering::Relaxed)
    }

    /// Waits for a turn.
    async fn wait(self: Arc<Self>) {
        let mut held = self.place.lock().await;
        if self.has_turn() {
            return;
        }
        // The next one may have it.
        *held = None;
        let lane = match self.until.load(Ordering::Relaxed) {
            0 => &self.turns.first,
            _ => &self.turns.further,
        };
        let (until, place) = lane.turn(&self.turns).await;
        *held = Some(place);
        self.until.store(until, Ordering::Relaxed);
    }
}

/// An operator whose rows come only while its statement has a turn.
#[derive(Debug, Clone)]
pub struct TurnExec {
    input: Arc<dyn ExecutionPlan>,
    statement: Arc<Statement>,
}

/// What [`TurnExec`] is called in a plan.
pub const TURN_EXEC: &str = "TurnExec";

impl DisplayAs for TurnExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TURN_EXEC)
    }
}

impl ExecutionPlan for TurnExec {
    fn name(&self) -> &str {
        TURN_EXEC
    }

    // Whoever looks for an operator finds it as if it were alone.
    fn downcast_delegate(&self) -> Option<&dyn ExecutionPlan> {
        Some(self.input.as_ref())
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) => Ok(Arc::new(Self {
                input,
                statement: Arc::clone(&self.statement),
            })),
            None => Ok(self),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        Ok(Box::pin(TurnStream {
            input: self.input.execute(partition, context)?,
            statement: Arc::clone(&self.statement),
            wait: None,
        }))
    }
}

/// The rows of one partition.
struct TurnStream {
    input: SendableRecordBatchStream,
    statement: Arc<Statement>,
    wait: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Stream for TurnStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.wait.is_none() && !self.statement.has_turn() {
            self.wait = Some(Box::pin(Arc::clone(&self.statement).wait()));
        }
        if let Some(wait) = &mut self.wait {
            ready!(wait.poll_unpin(context));
            self.wait = None;
        }
        // However short the turn was, it is for one step at least.
        self.input.poll_next_unpin(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.input.size_hint()
    }
}

impl RecordBatchStream for TurnStream {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    #[tokio::test]
    async fn no_more_have_a_turn_than_there_are() {
        let turns = Arc::new(Turns::of(2, Duration::from_millis(2)));
        let statements: Vec<Arc<Statement>> = (0..12)
            .map(|_| Arc::new(Statement::new(Arc::clone(&turns))))
            .collect();
        let tasks: Vec<_> = statements
            .iter()
            .map(|statement| {
                // The first turns are of another lane.
                statement.until.store(1, Ordering::Relaxed);
                let (statement, all) = (Arc::clone(statement), statements.clone());
                tokio::spawn(async move {
                    let mut most = 0;
                    for _ in 0..3 {
                        Arc::clone(&statement).wait().await;
                        let with_turn = all.iter().filter(|statement| statement.has_turn());
                        most = most.max(with_turn.count());
                        while statement.has_turn() {
                            tokio::task::yield_now().await;
                        }
                    }
                    most
                })
            })
            .collect();
        let mut most = 0;
        for task in tasks {
            most = most.max(task.await.unwrap());
        }
        assert_eq!(most, 2);
    }

    #[tokio::test]
    async fn a_first_turn_waits_for_no_further_one() {
        let turns = Arc::new(Turns::of(1, Duration::from_secs(3600)));
        let long = Arc::new(Statement::new(Arc::clone(&turns)));
        long.until.store(1, Ordering::Relaxed);
        Arc::clone(&long).wait().await;
        let short = Arc::new(Statement::new(Arc::clone(&turns)));
        Arc::clone(&short).wait().await;
        assert!(long.has_turn() && short.has_turn());
        // Who ended leaves their place to the next.
        drop(short);
        let next = Arc::new(Statement::new(Arc::clone(&turns)));
        Arc::clone(&next).wait().await;
        assert!(next.has_turn());
    }

    #[tokio::test]
    async fn whoever_does_nothing_holds_nobody_up() {
        let turns = Arc::new(Turns::of(1, Duration::from_millis(5)));
        let idle = Arc::new(Statement::new(Arc::clone(&turns)));
        Arc::clone(&idle).wait().await;
        let next = Arc::new(Statement::new(Arc::clone(&turns)));
        Arc::clone(&next).wait().await;
        assert!(next.has_turn() && !idle.has_turn());
    }

    #[tokio::test]
    async fn rows_are_those_of_the_plan() {
        let turns = Arc::new(Turns::of(1, Duration::from_nanos(1)));
        let context = SessionContext::new();
        let sql = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 50)
            SELECT a.value % 7, count(*), max(n.i) FROM generate_series(1, 20000) a JOIN n ON a.value % 50 = n.i - 1
            GROUP BY 1 ORDER BY 1";
        let frame = context.sql(sql).await.unwrap();
        let expected = frame.clone().collect().await.unwrap();
        let plan = frame.create_physical_plan().await.unwrap();
        let taken = turns.taken_by(plan).unwrap();
        let rows = datafusion::physical_plan::collect(taken, context.task_ctx())
            .await
            .unwrap();
        let text = |rows: &[RecordBatch]| {
            datafusion::arrow::util::pretty::pretty_format_batches(rows)
                .unwrap()
                .to_string()
        };
        assert_eq!(text(&rows), text(&expected));
    }
}
