// The picture of a run: loss raw and smoothed, what it was tested at, the rates that were used, and where epochs end.
import { brief, make, say } from "./common.js"
import { epochEnds, smoothed } from "./training_state.js"

/** @typedef {import("./training_state.js").RunState} RunState */
/** @typedef {{ low: number, high: number, log: boolean }} Span */
/** @typedef {[x: number, y: number][]} Points */

const SVG = "http://www.w3.org/2000/svg"
const EDGE = { left: 46, right: 50, top: 8, bottom: 20 }
const NARROWEST = 26
const CLOSEST = 5
const AHEAD = 1.2
const FEWEST = 20

/** A chart that fills its element and follows its size. */
export class Chart {
  constructor() {
    this.svg = draw("svg", { class: "kiln-chart", role: "img", "aria-label": say("Loss and learning rate") })
    this.readout = make("div", { class: "kiln-readout" })
    this.element = make("div", { class: "kiln-chart-box" })
    this.element.append(this.svg, this.readout)
    /** @type {RunState | null} */
    this.state = null
    this.keep = 0.95
    this.log = false
    /** @type {number | null} */
    this.pointed = null
    this.watcher = new ResizeObserver(() => this.paint())
    this.watcher.observe(this.element)
    this.element.addEventListener("pointermove", (event) => this.point(event))
    this.element.addEventListener("pointerleave", () => this.point(null))
  }

  /** @param {RunState | null} state */
  show(state) {
    this.state = state
    this.paint()
  }

  remove() {
    this.watcher.disconnect()
  }

  paint() {
    const { clientWidth: width, clientHeight: height } = this.element
    this.svg.replaceChildren()
    if (!this.state?.step || width < 2 * EDGE.left || height < 40) {
      this.readout.textContent = ""
      return
    }
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`)
    const { columns, about } = this.state
    const smooth = smoothed(columns.loss, this.keep)
    const ended = about?.finished || about?.stopped_at
    // A run that has just begun fills the chart too; how far it is says the bar above.
    const ahead = Math.min(this.state.steps, Math.max(this.state.step * AHEAD, FEWEST))
    const most = Math.max(1, ended ? this.state.step : ahead)
    const tested = (about?.validation ?? []).filter((row) => row.loss != null)
    const losses = spanOf([...robust(columns.loss), ...smooth, ...tested.map((row) => row.loss)], this.log)
    const rates = spanOf([0, ...Object.values(columns.lr).flat()], false)
    const across = (/** @type {number} */ step) => EDGE.left + (step / most) * (width - EDGE.left - EDGE.right)
    const down = (/** @type {number} */ value, /** @type {Span} */ span) =>
      height - EDGE.bottom - at(value, span) * (height - EDGE.top - EDGE.bottom)
    this.grid(width, height, losses, rates, down)
    this.epochs(across, height)
    const raw = thinned(columns.step, columns.loss, across, (value) => down(value, losses))
    this.svg.append(draw("path", { class: "kiln-raw", d: path(raw) }))
    for (const [number, [part, values]] of Object.entries(columns.lr).entries()) {
      const line = thinned(columns.step, values, across, (value) => down(value, rates))
      const kind = `kiln-rate kiln-rate-${Math.min(number, 1)}`
      this.svg.append(draw("path", { class: kind, d: path(line), "data-part": part }))
    }
    const line = thinned(columns.step, smooth, across, (value) => down(value, losses))
    this.svg.append(draw("path", { class: "kiln-smooth", d: path(line) }))
    const tests = tested.map((row) => /** @type {[number, number]} */ ([across(row.step), down(row.loss ?? 0, losses)]))
    this.svg.append(draw("path", { class: "kiln-tested", d: path(tests) }))
    for (const [x, y] of tests) this.svg.append(draw("circle", { class: "kiln-test", cx: x, cy: y, r: 3 }))
    this.cursor(across, height, smooth)
  }

  /**
   * @param {number} width
   * @param {number} height
   * @param {Span} losses
   * @param {Span} rates
   * @param {(value: number, span: Span) => number} down
   */
  grid(width, height, losses, rates, down) {
    for (const value of ticks(losses)) {
      const y = down(value, losses)
      this.svg.append(draw("line", { class: "kiln-grid", x1: EDGE.left, x2: width - EDGE.right, y1: y, y2: y }))
      this.svg.append(draw("text", { x: EDGE.left - 5, y: y + 4, "text-anchor": "end" }, brief(value)))
    }
    for (const value of ticks(rates)) {
      const y = down(value, rates)
      this.svg.append(draw("text", { class: "kiln-rate-label", x: width - EDGE.right + 5, y: y + 4 }, brief(value)))
    }
    this.svg.append(draw("text", { x: EDGE.left - 5, y: height - 5, "text-anchor": "end" }, say("epoch")))
  }

  /**
   * @param {(step: number) => number} across
   * @param {number} height
   */
  epochs(across, height) {
    if (!this.state) return
    const ends = epochEnds(this.state.columns)
    const { about, step } = this.state
    if (about && about.steps_an_epoch && step && step % about.steps_an_epoch === 0) {
      ends.push({ epoch: this.state.columns.epoch.at(-1) ?? 0, step })
    }
    let free = 0
    let clear = 0
    for (const { epoch, step: end } of ends) {
      const x = across(end)
      // Lines that touch would hide the loss.
      if (x < clear) continue
      clear = x + CLOSEST
      this.svg.append(draw("line", { class: "kiln-epoch", x1: x, x2: x, y1: EDGE.top, y2: height - EDGE.bottom }))
      if (x < free) continue
      free = x + NARROWEST
      this.svg.append(draw("text", { x, y: height - 5, "text-anchor": "middle" }, String(epoch)))
    }
  }

  /**
   * @param {(step: number) => number} across
   * @param {number} height
   * @param {(number | null)[]} smooth
   */
  cursor(across, height, smooth) {
    if (!this.state) return
    const { columns } = this.state
    const last = columns.step.length - 1
    const place = this.pointed == null ? last : nearest(columns.step, across, this.pointed)
    if (this.pointed != null) {
      const x = across(columns.step[place])
      this.svg.append(draw("line", { class: "kiln-cursor", x1: x, x2: x, y1: EDGE.top, y2: height - EDGE.bottom }))
    }
    this.readout.replaceChildren(
      make("span", {}, say("step {step}", { step: columns.step[place] })),
      make("span", { class: "kiln-key kiln-key-raw" }, `${say("loss")} ${brief(columns.loss[place])}`),
      make("span", { class: "kiln-key kiln-key-smooth" }, `${say("smoothed")} ${brief(smooth[place])}`),
      ...Object.entries(columns.lr).map(([part, values], number) =>
        make("span", { class: `kiln-key kiln-key-rate-${Math.min(number, 1)}` }, `lr ${part} ${brief(values[place])}`),
      ),
      ...this.testAt(columns.step[place]),
    )
  }

  /** @param {number} step */
  testAt(step) {
    const row = (this.state?.about?.validation ?? []).filter((one) => one.step <= step).at(-1)
    return row ? [make("span", { class: "kiln-key kiln-key-test" }, `${say("validation")} ${brief(row.loss)}`)] : []
  }

  /** @param {PointerEvent | null} event */
  point(event) {
    const box = this.element.getBoundingClientRect()
    // The canvas shows nodes larger or smaller than they are laid out.
    this.pointed = event && box.width ? ((event.clientX - box.left) * this.element.clientWidth) / box.width : null
    this.paint()
  }
}

/**
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {string} [text]
 */
function draw(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value))
  if (text) element.textContent = text
  return element
}

/** @param {Points} points */
function path(points) {
  return points.map(([x, y], number) => `${number ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("")
}

/**
 * A line with two points a pixel at most, the lowest and the highest there: peaks stay to be seen.
 * @param {number[]} steps
 * @param {(number | null)[]} values
 * @param {(step: number) => number} across
 * @param {(value: number) => number} down
 */
function thinned(steps, values, across, down) {
  /** @type {Map<number, { first: number, low: [number, number], high: [number, number] }>} */
  const pixels = new Map()
  for (const [place, value] of values.entries()) {
    if (value == null) continue
    const [x, y] = [across(steps[place]), down(value)]
    const found = pixels.get(Math.round(x))
    if (!found) pixels.set(Math.round(x), { first: y, low: [x, y], high: [x, y] })
    else if (y > found.low[1]) found.low = [x, y]
    else if (y < found.high[1]) found.high = [x, y]
  }
  /** @type {Points} */
  const points = []
  for (const { low, high } of pixels.values()) {
    if (low === high) points.push(low)
    else points.push(...(low[0] <= high[0] ? [low, high] : [high, low]))
  }
  return points
}

/**
 * Values without the few that are far off: one bad step must not press all others into a line.
 * @param {(number | null)[]} values
 */
function robust(values) {
  const sorted = values.filter((value) => value != null).sort((a, b) => a - b)
  if (sorted.length < 50) return sorted
  return sorted.slice(Math.floor(sorted.length * 0.01), Math.ceil(sorted.length * 0.99))
}

/**
 * @param {(number | null)[]} values
 * @param {boolean} log
 * @returns {Span}
 */
function spanOf(values, log) {
  let [low, high] = [Infinity, -Infinity]
  for (const value of values) {
    if (value == null || (log && value <= 0)) continue
    low = Math.min(low, value)
    high = Math.max(high, value)
  }
  if (low > high) return { low: 0, high: 1, log: false }
  const room = (high - low || Math.abs(high) || 1) * 0.05
  return log ? { low: low * 0.95, high: high * 1.05, log } : { low: low === 0 ? 0 : low - room, high: high + room, log }
}

/**
 * @param {number} value
 * @param {Span} span
 */
function at(value, { low, high, log }) {
  const share = log ? Math.log(Math.max(value, low) / low) / Math.log(high / low) : (value - low) / (high - low)
  return Math.min(1, Math.max(0, share))
}

/**
 * Three to six round values.
 * @param {Span} span
 */
function ticks({ low, high, log }) {
  if (log && high / low > 20) {
    const first = Math.ceil(Math.log10(low))
    return Array.from({ length: Math.floor(Math.log10(high)) - first + 1 }, (_, number) => 10 ** (first + number))
  }
  const size = 10 ** Math.floor(Math.log10((high - low) / 3))
  const step = [1, 2, 5, 10].map((times) => times * size).find((one) => (high - low) / one <= 5) ?? size
  const first = Math.ceil(low / step)
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, number) => (first + number) * step)
}

/**
 * @param {number[]} steps
 * @param {(step: number) => number} across
 * @param {number} x
 */
function nearest(steps, across, x) {
  let best = 0
  for (const [place, step] of steps.entries()) {
    if (Math.abs(across(step) - x) < Math.abs(across(steps[best]) - x)) best = place
  }
  return best
}
