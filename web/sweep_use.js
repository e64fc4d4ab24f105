// "Use this epoch": write what a sweep's column stands for into the Save LoRA nodes of the same run.
import { app } from "../../scripts/app.js"
import { make, say, toast } from "./common.js"

/** @typedef {{ epoch: number, strength: number }} Wanted */

const SAVE = "KilnSaveLoRA"
const REROUTE = "Reroute"
const FARTHEST = 100

/**
 * Where a run comes from: the node and its output, reroutes left out. Null where nothing is wired, or where the wire
 * leaves a subgraph.
 * @param {ComfyNode} node
 * @returns {{ node: ComfyNode, slot: number } | null}
 */
export function runSource(node) {
  /** @type {ComfyNode | null} */
  let at = node
  let slot = node.findInputSlot("run")
  // A node that is asked late may have left its graph.
  for (let far = 0; at?.graph && slot >= 0 && far < FARTHEST; far += 1) {
    const link = at.getInputLink(slot)
    /** @type {ComfyNode | null} */
    const origin = (link && at.graph?.getNodeById(link.origin_id)) || null
    if (!link || !origin) return null
    if (origin.type !== REROUTE) return { node: origin, slot: link.origin_slot }
    at = origin
    slot = 0
  }
  return null
}

/**
 * Write epoch and strength into every Save LoRA that saves the run of `sweep`; where none does, ask which is meant.
 * @param {ComfyNode} sweep
 * @param {Wanted} wanted
 */
export async function useEpoch(sweep, wanted) {
  const all = (sweep.graph?.nodes ?? []).filter((node) => node.comfyClass === SAVE)
  const source = runSource(sweep)
  const same = all.filter((node) => {
    const own = runSource(node)
    return source && own?.node === source.node && own.slot === source.slot
  })
  const chosen = same.length ? same : await choose(all, Boolean(source))
  if (!chosen) return
  const freed = changing(() => {
    const targets = chosen === "new" ? [addSave(sweep)] : chosen
    return targets.flatMap((node) => write(node, wanted).map((name) => `${titleOf(node)}: ${name}`))
  })
  const what = say("Save LoRA takes epoch {epoch} at strength {strength}.", wanted)
  const wires = freed.length ? ` ${say("The wires into {inputs} were taken away.", { inputs: freed.join(", ") })}` : ""
  toast("success", what + wires)
}

/**
 * Make a change of the graph that one undo takes back.
 * @template T
 * @param {() => T} change
 * @returns {T}
 */
function changing(change) {
  const tracker = app.extensionManager.workflow?.activeWorkflow?.changeTracker
  tracker?.beforeChange?.()
  app.graph.beforeChange?.()
  try {
    return change()
  } finally {
    app.graph.afterChange?.()
    app.graph.setDirtyCanvas(true, true)
    tracker?.afterChange?.()
  }
}

/**
 * Set the widgets; wires into them would win, so they are taken away. Returns the names of those inputs.
 * @param {ComfyNode} node
 * @param {Wanted} wanted
 */
function write(node, wanted) {
  const freed = []
  for (const [name, value] of Object.entries(wanted)) {
    const slot = node.findInputSlot(name)
    if (slot >= 0 && node.isInputConnected(slot)) {
      node.disconnectInput(slot)
      freed.push(name)
    }
    const widget = node.widgets?.find((one) => one.name === name)
    if (!widget) throw new Error(say("{node} has no {name}.", { node: titleOf(node), name }))
    widget.value = value
    widget.callback?.(value, app.canvas, node, node.pos)
  }
  return freed
}

/** @param {ComfyNode} sweep */
function addSave(sweep) {
  const node = LiteGraph.createNode(SAVE)
  const source = runSource(sweep)
  if (!node || !source) throw new Error(say("Wire a run into Epoch Sweep first."))
  node.pos = [sweep.pos[0] + sweep.size[0] + 40, sweep.pos[1]]
  sweep.graph?.add(node)
  source.node.connect(source.slot, node, "run")
  return node
}

/** @param {ComfyNode} node */
function titleOf(node) {
  return `${node.title} #${node.id}`
}

/**
 * Which Save LoRA is meant, where none saves the sweep's own run. Null when the question is closed.
 * @param {ComfyNode[]} all
 * @param {boolean} addable
 * @returns {Promise<ComfyNode[] | "new" | null>}
 */
function choose(all, addable) {
  if (!all.length && !addable) {
    throw new Error(say("There is no Save LoRA in this graph, and no run is wired into Epoch Sweep."))
  }
  return new Promise((answered) => {
    /** @type {ComfyNode[] | "new" | null} */
    let answer = null
    /** @param {ComfyNode[] | "new"} given */
    const take = (given) => {
      answer = given
      question.close()
    }
    const buttons = all.map((node) => make("button", { type: "button", onclick: () => take([node]) }, titleOf(node)))
    if (addable) buttons.push(make("button", { type: "button", onclick: () => take("new") }, say("Add a Save LoRA")))
    buttons.push(make("button", { type: "button", onclick: () => question.close() }, say("Cancel")))
    const words = say("No Save LoRA is wired to the run of this sweep. Which one shall take the epoch?")
    const question = make("dialog", { class: "kiln kiln-question" }, make("p", {}, words), ...buttons)
    question.addEventListener("keydown", (event) => event.stopPropagation())
    question.addEventListener("close", () => {
      question.remove()
      answered(answer)
    })
    document.body.append(question)
    question.showModal()
  })
}
