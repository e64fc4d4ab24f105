// Puts the view of a run into Train LoRA, and keeps it up to date.
import { app } from "../../scripts/app.js"
import { addPanel, ask, hear, keepGraph, later, registerPanel, route, trying } from "./common.js"
import { nodeOf } from "./dataset_graph.js"
import { RunState } from "./training_state.js"
import { TrainingView } from "./training_view.js"

/** @typedef {import("./training_state.js").Live} Live */

const NODE = "KilnTrainLoRA"
const KEPT = "kiln_run"
/** Pixels: the least that the panel needs, and what a new node gives it. */
const LEAST = 300
const HEIGHT = 420
const WIDTH = 460
const EVENT = "kiln.training"

/** A node's view, and the run that it shows: the one that trains under its name, else the newest. */
class Panel {
  /** @param {ComfyNode} node */
  constructor(node) {
    this.node = node
    /** @type {RunState | null} */
    this.state = null
    /** @type {Live | null} */
    this.live = null
    /** @type {import("./training_state.js").RunLine[]} */
    this.runs = []
    this.followed = ""
    this.busy = false
    this.again = false
    this.view = new TrainingView({ choose: (run) => this.choose(run), goOn: (run) => this.goOn(run) })
    this.widget = addPanel(node, "training", this.view.element, LEAST)
    this.look = later(() => this.find(), 300)
    this.silence = [
      hear(EVENT, (live) => this.told(live)),
      hear("reconnected", () => this.look()),
    ]
    this.watchName()
    this.look()
  }

  get name() {
    return String(this.node.widgets?.find((widget) => widget.name === "name")?.value ?? "")
  }

  /** Whether the name comes by wire, so that the page does not know it. */
  get wired() {
    return this.node.inputs?.some((slot) => slot.name === "name" && slot.link != null) ?? false
  }

  watchName() {
    const widget = this.node.widgets?.find(({ name }) => name === "name")
    if (!widget) return
    const { look } = this
    const before = widget.callback
    widget.callback = function renamed(value, ...rest) {
      look()
      return before?.call(this, value, ...rest)
    }
  }

  /** @param {Live} live */
  isMine(live) {
    return this.wired ? nodeOf(live.node) === this.node : live.name === this.name
  }

  /** @param {Live} live */
  told(live) {
    if (!this.isMine(live)) return
    this.live = live.over ? null : live
    this.follow()
    if (live.over) this.look()
    this.refresh()
  }

  /** Turn to a run that begins, once: whoever looks at another one meanwhile goes on with that. */
  follow() {
    const run = this.live?.run
    if (!run || run === this.followed) return
    this.followed = run
    if (run !== this.state?.run) this.turn(run)
  }

  /** Show a run; the node keeps which, for a reload. @param {string} run */
  turn(run) {
    this.state = new RunState(run)
    this.node.properties[KEPT] = run
    keepGraph()
  }

  /** Look anew for the run to show. */
  find() {
    return trying(async () => {
      const { trainings } = await ask("/training")
      this.live = trainings.find((/** @type {Live} */ live) => this.isMine(live)) ?? null
      const kept = this.node.properties[KEPT]
      const name = this.wired ? await this.nameOf(this.state?.run ?? kept) : this.name
      this.runs = name ? (await ask(`/runs?name=${encodeURIComponent(name)}`)).runs : []
      const names = this.runs.map(({ run }) => run)
      const there = [this.live?.run, ...names].includes(this.state?.run)
      if (!this.state || !there) this.state = names.length ? new RunState(names.includes(kept) ? kept : names[0]) : null
      this.follow()
      await this.refresh()
    })
  }

  /** The name that a run was trained under; none for a run that is not here. @param {string | undefined} run */
  async nameOf(run) {
    /** @type {{ runs: { run: string, name: string }[] }} */
    const { runs } = run ? await ask("/runs") : { runs: [] }
    return runs.find((one) => one.run === run)?.name ?? ""
  }

  /** @param {string} run */
  choose(run) {
    this.turn(run)
    this.refresh()
  }

  async refresh() {
    this.again = true
    if (this.busy) return
    this.busy = true
    try {
      while (this.again) {
        this.again = false
        this.show()
        await this.state?.read()
      }
    } catch (error) {
      // The server is away, or the folder was renamed; what is known stays until it is looked for again.
      console.warn("LoRA Kiln:", error)
    } finally {
      this.busy = false
      this.show()
    }
  }

  show() {
    const { runs, state, live } = this
    this.view.show({ runs, state, live })
  }

  /** @param {string} run */
  async goOn(run) {
    await ask(route("runs", run, "ask"), { what: "go on" })
    await app.queuePrompt(0, 1)
    await this.find()
  }

  remove() {
    for (const stop of this.silence) stop()
    this.view.remove()
  }
}

registerPanel("kiln.training", NODE, (node) => new Panel(node), { width: WIDTH, height: HEIGHT - LEAST })
