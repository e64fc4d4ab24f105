// Where datasets are in the graph: which node gives one, which Edit Tags changes it, and what the server calls it.
import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"
import { hear, keepGraph, say } from "./common.js"

const DATASET = "KILN_DATASET"
const KEPT = "kiln_datasets"
export const [NEVER, BYPASSED] = [2, 4]
const DEEPEST = 100
const REROUTE = "Reroute"
export const EDIT = "KilnEditTags"

/** An output of a node that gives a dataset. @typedef {{ node: ComfyNode, slot: number }} Source */
/** What the server told of it. @typedef {{ slot: number, id: string, pictures: number }} Told */

/**
 * The numbers of a node's outputs that give datasets.
 * @param {ComfyNode} node
 */
export function outputsOf(node) {
  return (node.outputs ?? []).flatMap((slot, number) => (slot.type === DATASET ? [number] : []))
}

/**
 * Whether a node gives or takes a dataset.
 * @param {any} node
 */
export function bears(node) {
  return outputsOf(node).length > 0 || inputOf(node) >= 0
}

/** Every node of the open graph that gives or takes a dataset, from left to right. */
export function bearers() {
  const nodes = [...(app.canvas?.graph ?? app.graph)?.nodes ?? []]
  return nodes.filter(bears).sort((a, b) => a.pos[0] - b.pos[0] || a.pos[1] - b.pos[1])
}

/**
 * What a person means who opens a node: the dataset before any edit of theirs, and the Edit Tags that holds the edits.
 * @param {ComfyNode} node
 * @param {number} [slot] which of its outputs
 * @returns {{ base: Source | null, edit: ComfyNode | null }}
 */
export function subjectOf(node, slot) {
  if (node.comfyClass === EDIT) return { base: originOf(node, inputOf(node)), edit: node }
  const outputs = outputsOf(node)
  if (outputs.length) {
    const base = { node, slot: slot ?? outputs[0] }
    return { base, edit: editOf(base) }
  }
  const base = originOf(node, inputOf(node))
  if (base?.node.comfyClass === EDIT) return subjectOf(base.node)
  return { base, edit: base && editOf(base) }
}

/**
 * What the server calls a dataset; null before its node has run.
 * @param {Source} source
 * @returns {Told | null}
 */
export function toldOf({ node, slot }) {
  return (node.properties?.[KEPT] ?? []).find((/** @type {Told} */ row) => row.slot === slot) ?? null
}

/**
 * Note what the server told of a node's outputs. It is kept with the node, so that it is known after a reload.
 * @param {ComfyNode} node
 * @param {Told[]} rows
 */
export function remember(node, rows) {
  const outputs = outputsOf(node)
  // A run of before this page was loaded may be of another workflow, with another node of that number.
  if (rows.some(({ slot }) => outputs.length > 0 && !outputs.includes(slot))) return
  const told = [...new Map(rows.map((row) => [row.slot, row])).values()]
  if (JSON.stringify(node.properties[KEPT]) === JSON.stringify(told)) return
  node.properties[KEPT] = told
  keepGraph()
}

/**
 * The node that a message of the server is about; inside subgraphs its id names every graph around it.
 * @param {ComfyNodeId} id
 */
export function nodeOf(id) {
  /** @type {any} */
  let graph = app.rootGraph ?? app.graph
  /** @type {any} */
  let node = null
  for (const part of String(id).split(":")) {
    node = graph?.getNodeById(/^\d+$/.test(part) ? Number(part) : part) ?? null
    graph = node?.subgraph
  }
  return /** @type {ComfyNode | null} */ (node)
}

/** The workflow of each graph that was queued here, by what the server calls its run. @type {Map<string, string>} */
const origins = new Map()

/** Note from now on which workflow is queued: what a run tells may come when another one is open. */
export function noteOrigins() {
  const queue = api.queuePrompt
  api.queuePrompt = async function noted(...given) {
    const reply = await queue.apply(this, given)
    const workflow = given[1]?.workflow?.id
    if (reply?.prompt_id && workflow) origins.set(reply.prompt_id, workflow)
    return reply
  }
}

/** What runs have told of workflows that were not in sight, by the workflow. @type {Map<string, any[]>} */
const missed = new Map()

/**
 * The node that a run has told of; null where it is of another workflow that is open too, and told again once that one
 * is in sight (`tellMissed`).
 * @param {{ prompt_id?: string, node: ComfyNodeId, display_node?: ComfyNodeId }} detail
 */
export function nodeThatRan(detail) {
  const from = origins.get(detail.prompt_id ?? "")
  const { id } = app.rootGraph ?? app.graph
  // A workflow that was saved under another name has another id, and is itself still.
  const others = app.extensionManager.workflow.openWorkflows ?? []
  if (from && id && from !== id && others.some(({ activeState }) => activeState?.id === from)) {
    missed.set(from, [...(missed.get(from) ?? []).filter((before) => before !== detail), detail])
    return null
  }
  return nodeOf(detail.display_node ?? detail.node)
}

/** Who wants to know what runs tell. @type {Set<(detail: any) => void>} */
const listeners = new Set()

/** Hear what runs tell of nodes, also later what was missed. @param {(detail: any) => void} then */
export function whenRan(then) {
  listeners.add(then)
  hear("executed", then)
}

/** Tell again what runs have told of the workflow that is now in sight, while it was not. */
export function tellMissed() {
  const { id } = app.rootGraph ?? app.graph
  const told = missed.get(id) ?? []
  missed.delete(id)
  for (const detail of told) for (const then of listeners) then(detail)
}

/**
 * A new Edit Tags in the wire behind a dataset: whatever took the dataset takes the edited one.
 * @param {Source} base
 * @returns {ComfyNode}
 */
export function insertEdit(base) {
  const graph = base.node.graph
  const takers = linksOf(base).map((link) => ({ node: graph?.getNodeById(link.target_id), slot: link.target_slot }))
  if (takers.some(({ node }) => !node)) {
    throw new Error(say("This dataset leaves its subgraph. Put an Edit Tags into its wire by hand, then edit here."))
  }
  const edit = LiteGraph.createNode(EDIT)
  if (!edit || !graph) throw new Error("Edit Tags could not be added to the graph.")
  const [x, y] = base.node.pos
  edit.pos = [x + base.node.size[0] + 40, y + base.node.size[1] + 60]
  graph.beforeChange?.()
  graph.add(edit)
  base.node.connect(base.slot, edit, inputOf(edit))
  for (const { node, slot } of takers) if (node) edit.connect(outputsOf(edit)[0], node, slot)
  graph.afterChange?.()
  graph.setDirtyCanvas(true, true)
  return edit
}

/**
 * A node as people call it.
 * @param {ComfyNode} node
 */
export function titleOf(node) {
  return `${node.title.replace(/ \(Kiln\)$/, "")} #${node.id}`
}

/** @param {ComfyNode} node */
function inputOf(node) {
  return (node.inputs ?? []).findIndex((slot) => slot.type === DATASET)
}

/**
 * The output at the other end of an input's wire, past reroutes and bypassed nodes.
 * @param {ComfyNode} node
 * @param {number} input
 * @returns {Source | null}
 */
export function originOf(node, input) {
  for (let step = 0; step < DEEPEST && input >= 0; step++) {
    const link = node.getInputLink(input)
    const origin = link && node.graph?.getNodeById(link.origin_id)
    if (!link || !origin) return null
    if (!isPassed(origin)) return { node: origin, slot: link.origin_slot }
    node = origin
    input = origin.type === REROUTE ? 0 : inputOf(origin)
  }
  return null
}

/** Whether wires go through a node as if it were not there. @param {ComfyNode} node */
function isPassed(node) {
  return node.type === REROUTE || node.mode === BYPASSED
}

/**
 * The first Edit Tags right behind a dataset, past reroutes and bypassed nodes.
 * @param {Source} base
 * @returns {ComfyNode | null}
 */
function editOf(base, step = 0) {
  for (const link of step < DEEPEST ? linksOf(base) : []) {
    const node = base.node.graph?.getNodeById(link.target_id)
    if (!node) continue
    const slots = node.type === REROUTE ? [0] : outputsOf(node)
    const behind = () => slots.map((slot) => editOf({ node, slot }, step + 1)).find(Boolean) ?? null
    const found = isPassed(node) ? behind() : node.comfyClass === EDIT ? node : null
    if (found) return found
  }
  return null
}

/**
 * Why a node shows no dataset.
 * @param {ComfyNode | null} node
 */
export function wordsOfNone(node) {
  const link = node?.getInputLink(inputOf(node))
  // Inside a subgraph a wire may come from the subgraph's own input.
  return link && !node?.graph?.getNodeById(link.origin_id)
    ? say("The dataset comes from outside this subgraph. Open the node that gives it there.")
    : say("No dataset is wired to this node.")
}

/** @param {Source} source */
function linksOf({ node, slot }) {
  const graph = node.graph
  return (node.outputs[slot]?.links ?? []).flatMap((id) => graph?.getLink?.(id) ?? graph?.links.get(id) ?? [])
}
