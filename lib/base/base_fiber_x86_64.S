/*
 * Context switch for x86-64, System V ABI; the interface is in base_fiber_internal.h.
 *
 * A suspended context is the value of its stack pointer. There lie, upwards: MXCSR and the x87 control word
 * (8 bytes), r15, r14, r13, r12, rbx, rbp, and the address to go on at.
 *
 * A switch returns into another stack than it was called on, which a hardware shadow stack forbids. The file therefore
 * carries no CET property note: a program that links it runs without one. The endbr64 are for indirect branch tracking.
 */
    .text

    .globl fiber_context_switch
    .hidden fiber_context_switch
    .type fiber_context_switch, @function
    .p2align 4
fiber_context_switch:                   /* rdi: where to save, rsi: what to continue */
    .cfi_startproc
    endbr64
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r12, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r13, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r14, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r15, 0
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movl (%rsp), %eax
    movzwl 4(%rsp), %ecx
    movq %rsp, (%rdi)
    movq %rsi, %rsp                     /* the other stack is laid out alike: the CFI stays true */
    cmpl %eax, (%rsp)                   /* loading these is slow, and they hardly ever differ */
    je 1f
    ldmxcsr (%rsp)
1:
    cmpw %cx, 4(%rsp)
    je 2f
    fldcw 4(%rsp)
2:
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore r15
    popq %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore r14
    popq %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore r13
    popq %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore r12
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbx
    popq %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbp
    popq %rcx                           /* a ret would be predicted to go where this stack's call came from */
    .cfi_adjust_cfa_offset -8
    .cfi_register rip, rcx
    notrack jmp *%rcx
    .cfi_endproc
    .size fiber_context_switch, .-fiber_context_switch

    .globl fiber_context_make
    .hidden fiber_context_make
    .type fiber_context_make, @function
    .p2align 4
fiber_context_make:                     /* rdi: stack, rsi: its bytes, rdx: entry, rcx: arg */
    .cfi_startproc
    endbr64
    leaq (%rdi, %rsi), %rax
    andq $-16, %rax
    leaq fiber_context_start(%rip), %r8
    movq %r8, -8(%rax)
    movq $0, -16(%rax)                  /* rbp: the end of the frame pointers' chain */
    movq %rcx, -24(%rax)                /* rbx: arg */
    movq %rdx, -32(%rax)                /* r12: entry */
    movq $0, -40(%rax)
    movq $0, -48(%rax)
    movq $0, -56(%rax)
    stmxcsr -64(%rax)
    fnstcw -60(%rax)
    subq $64, %rax
    ret
    .cfi_endproc
    .size fiber_context_make, .-fiber_context_make

    /* The first switch to a context returns to here, with the stack empty and aligned. */
    .type fiber_context_start, @function
    .p2align 4
fiber_context_start:
    .cfi_startproc
    .cfi_undefined rip                  /* unwinding ends here */
    endbr64
    movq %rbx, %rdi
    call *%r12
    ud2
    .cfi_endproc
    .size fiber_context_start, .-fiber_context_start

    .section .note.GNU-stack, "", @progbits
