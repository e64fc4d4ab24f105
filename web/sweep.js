// Puts the grid of a run's sweeps into Epoch Sweep.
import { addPanel, ask, hear, keepGraph, later, registerPanel, route, trying } from "./common.js"
import { nodeOf } from "./dataset_graph.js"
import { runSource, useEpoch } from "./sweep_use.js"
import { SweepView } from "./sweep_view.js"

/** @typedef {{ run: string, name: string }} Run */

const NODE = "KilnEpochSweep"
const TRAIN = "KilnTrainLoRA"
const LOAD = "KilnLoadRun"
const KEPT = "kiln_sweep"
/** Pixels: the least that the panel needs, and what a new node gives it. */
const LEAST = 220
const HEIGHT = 360
const WIDTH = 520

/** A node's grid. What it shows is kept with the node, and found again by the node's run otherwise. */
class Panel {
  /** @param {ComfyNode} node */
  constructor(node) {
    this.node = node
    this.asked = 0
    this.view = new SweepView({
      use: (column) => useEpoch(node, { epoch: column.epoch, strength: column.strength }),
      choose: (sweep) => this.open(this.node.properties[KEPT]?.run ?? "", sweep),
    })
    addPanel(node, "sweep", this.view.element, LEAST)
    this.look = later(() => this.find(), 300)
    this.silence = hear("kiln.sweep", (told) => {
      if (nodeOf(told.node) === node) this.open(told.run, told.sweep)
    })
    this.look()
  }

  /** Show what was shown before, else the newest sweep of the run that is wired in. */
  find() {
    return trying(async () => {
      const kept = this.node.properties[KEPT]
      /** @type {{ runs: Run[] }} */
      const { runs } = await ask("/runs")
      // A shared workflow tells of runs that are not here.
      const mine = runs.filter(({ run }) => run === kept?.run)
      for (const { run } of [...mine, ...this.wired(runs)]) {
        const about = await ask(route("runs", run))
        const names = about.sweeps.map((/** @type {{ name: string }} */ one) => one.name)
        if (!names.length) continue
        await this.open(run, names.includes(kept?.sweep) ? kept.sweep : names[0])
        return
      }
    })
  }

  /**
   * Those that the wired run may be, the likeliest first.
   * @param {Run[]} runs
   */
  wired(runs) {
    const source = runSource(this.node)?.node
    const value = (/** @type {string} */ name) => String(source?.widgets?.find((one) => one.name === name)?.value ?? "")
    if (source?.comfyClass === LOAD) return runs.filter(({ run }) => run === value("run"))
    return source?.comfyClass === TRAIN ? runs.filter(({ name }) => name === value("name")) : []
  }

  /**
   * @param {string} run
   * @param {string} name
   */
  open(run, name) {
    this.asked += 1
    const mine = this.asked
    return trying(async () => {
      const [about, sweep] = await Promise.all([ask(route("runs", run)), ask(route("runs", run, "sweeps", name))])
      if (mine !== this.asked) return
      const kept = this.node.properties[KEPT]
      if (kept?.run !== run || kept?.sweep !== name) {
        this.node.properties[KEPT] = { run, sweep: name }
        keepGraph()
      }
      // Its folder may have been renamed since.
      this.view.show({ ...sweep, run }, name, about.sweeps)
    })
  }

  remove() {
    this.silence()
  }
}

registerPanel("kiln.sweep", NODE, (node) => new Panel(node), { width: WIDTH, height: HEIGHT - LEAST })
