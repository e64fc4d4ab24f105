// Our nodes in the page's language also where the page has lost what we say in it: pages of ComfyUI 0.3.75 take in the
// words of packs first, load their own language afterwards, and put it in their place. Everywhere else this says nothing new.
import { app } from "../../scripts/app.js"
import { ready, wordsOf } from "./common.js"

/** @typedef {{ name?: string, tooltip?: string }} SlotWords */
/**
 * @typedef {{ display_name?: string, description?: string, inputs?: Record<string, SlotWords>,
 *   outputs?: Record<string, SlotWords> }} NodeWords
 */

/**
 * A definition in the page's language, but for the names of its slots: those are kept in workflows.
 * @param {any} about
 * @param {NodeWords} words
 */
function translate(about, words) {
  about.display_name = words.display_name ?? about.display_name
  about.description = words.description ?? about.description
  for (const group of [about.input?.required, about.input?.optional]) {
    for (const [name, spec] of Object.entries(group ?? {})) {
      const tooltip = words.inputs?.[name]?.tooltip
      if (tooltip) group[name] = [spec[0], { ...spec[1], tooltip }]
    }
  }
  const tips = about.output_tooltips ?? []
  about.output_tooltips = about.output_name.map((/** @type {string} */ _name, /** @type {number} */ slot) =>
    words.outputs?.[slot]?.tooltip ?? tips[slot] ?? "")
}

/**
 * Names beside a node's slots and widgets, where they are still those of the schema.
 * @param {ComfyNode} node
 * @param {NodeWords} words
 */
function label(node, words) {
  const own = (/** @type {string | undefined} */ shown, /** @type {string} */ name) => !shown || shown === name
  for (const slot of node.inputs ?? []) {
    if (own(slot.localized_name, slot.name)) slot.localized_name = words.inputs?.[slot.name]?.name ?? slot.name
  }
  for (const [number, slot] of (node.outputs ?? []).entries()) {
    if (own(slot.localized_name, slot.name)) slot.localized_name = words.outputs?.[number]?.name ?? slot.name
  }
  for (const widget of node.widgets ?? []) {
    if (own(widget.label, widget.name)) widget.label = words.inputs?.[widget.name]?.name ?? widget.label
  }
}

/** @param {Record<string, any>} defs definitions by node id */
function translateAll(defs) {
  for (const [id, about] of Object.entries(defs)) {
    const words = wordsOf(id)
    if (!words) continue
    translate(about, words)
    const known = LiteGraph.registered_node_types[id]
    if (known) known.title = about.display_name
  }
}

app.registerExtension({
  name: "kiln.words",

  /** @param {Record<string, any>} defs */
  async addCustomNodeDefs(defs) {
    await ready()
    translateAll(defs)
  },

  /** The page has fetched the definitions anew, as with the key R. @param {Record<string, any>} defs */
  refreshComboInNodes(defs) {
    translateAll(defs)
  },

  nodeCreated(node) {
    const words = wordsOf(node.comfyClass ?? "")
    if (words) label(node, words)
  },
})
