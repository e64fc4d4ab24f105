// What stands in Train LoRA while it trains, and afterwards: the picture, the facts in words, buttons and samples.
import { address, ask, brief, bytes, duration, make, route, say, trying } from "./common.js"
import { Chart } from "./training_chart.js"
import { Zoom } from "./zoom.js"

/** @typedef {import("./training_state.js").RunState} RunState */
/** @typedef {import("./training_state.js").RunLine} RunLine */
/** @typedef {import("./training_state.js").Live} Live */
/** @typedef {import("./training_state.js").Sample} Sample */
/** @typedef {{ runs: RunLine[], state: RunState | null, live: Live | null }} Shown */

const SMALL = 256
/** What is done before the first step, by the trainer's words for it. @type {Record<string, () => string>} */
const STAGES = {
  "encoding images": () => say("encoding images"),
  "encoding captions": () => say("encoding captions"),
}

/** The elements, and what they show. It asks for nothing by itself but what its buttons stand for. */
export class TrainingView {
  /** @param {{ choose: (run: string) => void, goOn: (run: string) => Promise<void> }} given */
  constructor(given) {
    this.given = given
    /** @type {Shown} */
    this.shown = { runs: [], state: null, live: null }
    this.chart = new Chart()
    this.runs = make("select", { title: say("Runs of this name, the newest first") })
    this.runs.addEventListener("change", () => given.choose(this.runs.value))
    this.state = make("span", { class: "kiln-state" })
    this.bar = make("div", { class: "kiln-bar-done" })
    this.facts = make("div", { class: "kiln-facts" })
    this.stop = this.button("stop", say("Stop and keep"))
    this.stop.title = say("End after this update, save what is learned, and let the graph go on with it")
    this.sample = this.button("sample", say("Sample now"))
    this.sample.title = say("Paint the sample prompts after this update")
    this.goOn = make("button", { type: "button", onclick: () => this.again() }, say("Go on"))
    this.goOn.title = say("Queue the graph again: training goes on where it was stopped")
    this.smooth = make("input", { type: "range", min: "0", max: "0.99", step: "0.01", value: "0.95" })
    this.smooth.title = say("How much the loss is smoothed")
    this.smooth.addEventListener("input", () => this.redraw())
    this.log = make("input", { type: "checkbox", onchange: () => this.redraw() })
    this.words = make("ul", { class: "kiln-words" })
    this.samples = make("div", { class: "kiln-samples" })
    const nothing = say("Nothing was trained under this name yet. Queue the graph, and the loss is drawn here.")
    this.empty = make("p", { class: "kiln-empty" }, nothing)
    const smooth = make("label", { class: "kiln-right" }, say("smooth"), this.smooth)
    const log = make("label", {}, this.log, say("log"))
    const buttons = make("div", { class: "kiln-buttons" }, this.stop, this.sample, this.goOn, smooth, log)
    this.body = make("div", { class: "kiln-body" }, this.chart.element, this.facts, buttons, this.words, this.samples)
    const head = make("div", { class: "kiln-head" }, this.runs, this.state)
    const bar = make("div", { class: "kiln-bar" }, this.bar)
    this.element = make("div", { class: "kiln-training" }, head, bar, this.empty, this.body)
    this.show(this.shown)
  }

  remove() {
    this.chart.remove()
  }

  /** @param {Shown} shown */
  show(shown) {
    this.shown = shown
    const { runs, state, live } = shown
    const trains = Boolean(live?.run && live.run === state?.run)
    this.showRuns(runs, state?.run ?? live?.run ?? "")
    this.showState(state, live)
    this.showButtons(state, live, trains)
    this.empty.hidden = Boolean(state?.about || live)
    this.body.hidden = !state?.about
    if (!state?.about) return
    this.facts.replaceChildren(...factsOf(state, trains).map((words) => make("span", {}, words)))
    this.showWords(state)
    this.showSamples(state)
    this.chart.show(state)
  }

  /**
   * @param {RunState | null} state
   * @param {Live | null} live
   */
  showState(state, live) {
    this.state.textContent = stateOf(state, live)
    this.state.dataset.kind = live ? "live" : state?.about?.finished ? "done" : "rest"
    const [done, total] = live && !live.run ? [live.done, live.total] : [state?.step ?? 0, state?.steps ?? 0]
    this.bar.style.width = `${total ? (100 * done) / total : 0}%`
  }

  /**
   * @param {RunState | null} state
   * @param {Live | null} live
   * @param {boolean} trains
   */
  showButtons(state, live, trains) {
    this.stop.hidden = !trains
    this.sample.hidden = !trains
    this.stop.disabled = Boolean(live?.stopping)
    this.sample.disabled = Boolean(live?.sampling)
    this.goOn.hidden = trains || !state?.about?.stopped_at || !state.about.can_go_on
  }

  /**
   * @param {RunLine[]} runs
   * @param {string} chosen
   */
  showRuns(runs, chosen) {
    const names = runs.map(({ run }) => run)
    if (chosen && !names.includes(chosen)) names.unshift(chosen)
    this.runs.hidden = names.length < 2
    if (names.join("\n") !== [...this.runs.options].map(({ value }) => value).join("\n")) {
      this.runs.replaceChildren(...names.map((name) => make("option", { value: name }, name)))
    }
    this.runs.value = chosen
  }

  /** @param {RunState} state */
  showWords(state) {
    const skipped = state.columns.skipped.at(-1) ?? 0
    const notes = state.about?.notes ?? []
    const lines = [
      ...(state.about?.doubts ?? []),
      ...(skipped ? [say("{skipped} steps were not finite and left out.", { skipped })] : []),
      ...notes.map(({ step, words }) => (step ? `${say("step {step}", { step })}: ${words}` : words)),
    ]
    const before = [...this.words.children].map((line) => line.textContent)
    if (before.join("\n") === lines.join("\n")) return
    this.words.replaceChildren(...lines.map((line) => make("li", {}, line)))
    this.words.hidden = !lines.length
  }

  /** @param {RunState} state */
  showSamples(state) {
    const all = state.about?.samples ?? []
    const marks = [state.run, ...all.map(({ file, mark }) => file + mark)].join("\n")
    if (this.samples.dataset.marks === marks) return
    this.samples.dataset.marks = marks
    this.samples.hidden = !all.length
    const numbers = [...new Set(all.map(({ number }) => number))].sort((a, b) => a - b)
    const rows = numbers.map((number) => all.filter((one) => one.number === number).reverse())
    this.samples.replaceChildren(...rows.map((row) => this.row(state, row)))
  }

  /**
   * The pictures of one prompt, the newest first.
   * @param {RunState} state
   * @param {Sample[]} row
   */
  row(state, row) {
    const prompt = state.about?.prompts[row[0].number] ?? ""
    const pictures = row.map((sample, place) => {
      const alt = say("step {step}", { step: sample.step })
      const image = make("img", { loading: "lazy", src: pictureOf(state.run, sample, SMALL), alt })
      const look = () => this.enlarge(state, row, place)
      const button = make("button", { type: "button", title: prompt, onclick: look }, image)
      return make("figure", {}, button, make("figcaption", {}, String(sample.step)))
    })
    return make("div", { class: "kiln-strip" }, ...pictures)
  }

  /**
   * @param {RunState} state
   * @param {Sample[]} row
   * @param {number} first
   */
  enlarge(state, row, first) {
    let place = first
    const look = () => {
      const sample = row[place]
      const title = say("step {step}", { step: sample.step })
      const prompt = state.about?.prompts[sample.number] ?? state.about?.trigger ?? ""
      const about = { [say("prompt")]: prompt, [say("run")]: state.run }
      zoom.show([{ source: pictureOf(state.run, sample), title, about }])
    }
    const zoom = new Zoom({
      walk: (way) => {
        // Newer ones stand left.
        place = Math.min(row.length - 1, Math.max(0, place + (way === "left" || way === "up" ? -1 : 1)))
        look()
      },
    })
    look()
  }

  redraw() {
    this.chart.keep = Number(this.smooth.value)
    this.chart.log = this.log.checked
    this.chart.paint()
  }

  again() {
    const run = this.shown.state?.run
    if (run) trying(() => this.given.goOn(run))
  }

  /**
   * @param {"stop" | "sample"} what
   * @param {string} label
   */
  button(what, label) {
    const button = make("button", { type: "button" }, label)
    const press = async () => {
      const run = this.shown.state?.run
      if (!run) return
      button.disabled = true
      await ask(route("runs", run, "ask"), { what }).catch((error) => {
        button.disabled = false
        throw error
      })
    }
    button.addEventListener("click", () => trying(press))
    return button
  }
}

/**
 * @param {string} run
 * @param {Sample} sample
 * @param {number} [side]
 */
function pictureOf(run, { file, mark }, side) {
  return address(["runs", run, "samples", file], side ? { side, mark } : { mark })
}

/**
 * @param {RunState | null} state
 * @param {Live | null} live
 */
function stateOf(state, live) {
  if (live?.stopping) return say("stopping after this update …")
  if (live?.run) return say("training")
  if (live) return live.total ? `${STAGES[live.words]?.() ?? live.words} ${live.done} / ${live.total}` : say("preparing …")
  if (!state?.about) return ""
  if (state.about.finished) return say("finished")
  if (state.about.stopped_at) return say("stopped and kept at step {step}", { step: state.about.stopped_at })
  return say("not finished: queue the graph to go on")
}

/**
 * @param {RunState} state
 * @param {boolean} trains
 */
function factsOf(state, trains) {
  const { columns, about } = state
  if (!state.step) return [say("No step yet.")]
  const epoch = columns.epoch.at(-1) ?? 0
  const tested = about?.validation.at(-1)
  const facts = [
    `${say("step")} ${state.step} / ${state.steps}`,
    about?.epochs ? `${say("epoch")} ${epoch} / ${about.epochs}` : `${say("epoch")} ${epoch}`,
    state.speed >= 1 ? `${brief(state.speed)} it/s` : `${brief(1 / state.speed)} s/it`,
    trains && say("{time} left", { time: duration(state.left) }),
    bytes(columns.memory.at(-1) ?? 0),
    tested && `${say("validation")} ${brief(tested.loss)}`,
    say("{count} LoRAs saved", { count: about?.checkpoints.filter(({ there }) => there).length ?? 0 }),
  ]
  return facts.filter((words) => typeof words === "string")
}
