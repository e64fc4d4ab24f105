// What the page knows of one run. All of it comes from the run's folder, so that a reload loses nothing.
import { ask, route } from "./common.js"

/** @typedef {{ run: string, name: string, finished: boolean, stopped_at: number, can_go_on: boolean }} RunLine */
/** @typedef {{ step: number, number: number, file: string, mark: string }} Sample */
/** @typedef {RunLine & {
 *   steps: number, steps_an_epoch: number, epochs: number, trigger: string, origin: string, report: string,
 *   doubts: string[], prompts: string[], checkpoints: { epoch: number, step: number, there: boolean }[],
 *   notes: { step: number, words: string }[], validation: { step: number, loss: number | null }[],
 *   samples: Sample[], sweeps: { name: string, changed: number }[] }} About */
/** @typedef {{ node: string, name: string, run: string, words: string, done: number, total: number, step: number,
 *   steps: number, stopping: boolean, sampling: boolean, over?: boolean }} Live */
/** @typedef {{ step: number[], epoch: number[], loss: (number | null)[], grad_norm: (number | null)[],
 *   it_s: number[], memory: number[], skipped: number[], lr: Record<string, (number | null)[]> }} Columns */

const SPEED_STEPS = 20

/** @returns {Columns} */
function nothing() {
  return { step: [], epoch: [], loss: [], grad_norm: [], it_s: [], memory: [], skipped: [], lr: {} }
}

/** A run as far as it has been read. */
export class RunState {
  /** @param {string} run its folder's name */
  constructor(run) {
    this.run = run
    /** @type {About | null} */
    this.about = null
    this.columns = nothing()
    this.place = 0
    /** @type {Promise<void> | null} */
    this.reading = null
    this.again = false
  }

  /** Read what is new. Calls during one that is under way are answered together by one more. */
  async read() {
    if (this.reading) {
      this.again = true
      return this.reading
    }
    this.reading = this.readAll().finally(() => {
      this.reading = null
    })
    return this.reading
  }

  async readAll() {
    do {
      this.again = false
      this.about = await ask(route("runs", this.run))
      await this.readSteps()
    } while (this.again)
  }

  async readSteps() {
    let more = true
    while (more) {
      const last = this.columns.step.at(-1) ?? 0
      const found = await ask(`${route("runs", this.run, "steps")}?place=${this.place}&step=${last}`)
      if (found.fresh) this.columns = nothing()
      append(this.columns, found.columns)
      this.place = found.place
      more = found.more
    }
  }

  /** The last step that was made. */
  get step() {
    return this.columns.step.at(-1) ?? 0
  }

  /** Steps of the whole run, 0 when that is not known. */
  get steps() {
    return Math.max(this.about?.steps ?? 0, this.step)
  }

  /** Steps a second of the last ones, by the time that each took. */
  get speed() {
    const last = this.columns.it_s.slice(-SPEED_STEPS)
    const seconds = last.reduce((sum, speed) => sum + 1 / speed, 0)
    return seconds ? last.length / seconds : Number.NaN
  }

  /** Seconds that the rest will take. */
  get left() {
    return (this.steps - this.step) / this.speed
  }
}

/**
 * @param {Columns} columns
 * @param {Columns} more
 */
function append(columns, more) {
  const before = columns.step.length
  for (const name of /** @type {const} */ (["step", "epoch", "loss", "grad_norm", "it_s", "memory", "skipped"])) {
    const [column, rest] = [/** @type {any[]} */ (columns[name]), more[name]]
    for (const value of rest) column.push(value)
  }
  for (const part of new Set([...Object.keys(columns.lr), ...Object.keys(more.lr)])) {
    columns.lr[part] ??= Array(before).fill(null)
    for (const value of more.lr[part] ?? Array(more.step.length).fill(null)) columns.lr[part].push(value)
  }
}

/**
 * A moving average that does not begin at nothing: divided by the weight that it has gathered. Gaps stay gaps.
 * @param {(number | null)[]} values
 * @param {number} keep from 0 (as it is) to almost 1
 */
export function smoothed(values, keep) {
  let [sum, weight] = [0, 0]
  return values.map((value) => {
    if (value == null) return null
    sum = keep * sum + (1 - keep) * value
    weight = keep * weight + (1 - keep)
    return sum / weight
  })
}

/**
 * The steps at which an epoch ended.
 * @param {Columns} columns
 */
export function epochEnds(columns) {
  /** @type {{ epoch: number, step: number }[]} */
  const ends = []
  for (let at = 1; at < columns.step.length; at += 1) {
    const [epoch, step] = [columns.epoch[at - 1], columns.step[at - 1]]
    if (columns.epoch[at] !== epoch) ends.push({ epoch, step })
  }
  return ends
}
