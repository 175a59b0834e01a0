# The boot probe: a boot sector that runs what kernels run and reports each stage on the first serial port.
#
#   R real mode   P protected mode   L long mode   X fxsave and SSE   C cmpxchg16b   B BMI2   S xsave/xrstor   M fast enough
#
# At the end it writes 0x10 to the port of isa-debug-exit, which ends QEMU with status 0x21. Instructions that CPUID does not announce are
# left out. Assembled by `as` and `objcopy -O binary`, see tests.rs; payload.bin is the result.

        .code16
        .globl _start
_start: cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        movb    $'R', %al
        movw    $0x3f8, %dx
        outb    %al, %dx
        inb     $0x92, %al              # the fast A20 gate
        orb     $2, %al
        andb    $0xfe, %al
        outb    %al, $0x92
        # Page tables: 0x1000 -> 0x2000 -> 0x3000, which maps the first 1 GiB in pages of 2 MiB.
        movw    $0x1000, %di
        xorl    %eax, %eax
        movw    $0xc00, %cx
        rep stosl
        movw    $0x2003, 0x1000
        movw    $0x3003, 0x2000
        movw    $0x3000, %di
        movl    $0x83, %eax
1:      movl    %eax, (%di)
        addw    $8, %di
        addl    $0x200000, %eax
        cmpw    $0x4000, %di
        jne     1b
        lgdt    (gdt_pointer - _start + 0x7c00)
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmp    $0x08, $(protected - _start + 0x7c00)

        .code32
protected:
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $0x7c00, %esp
        movb    $'P', %al
        outb    %al, %dx
        # Without long mode (an i386 QEMU) only the speed is left to see.
        movl    $0x80000001, %eax
        cpuid
        btl     $29, %edx
        movw    $0x3f8, %dx
        jnc     speed32
        movl    %cr4, %eax
        orl     $0x620, %eax            # PAE, OSFXSR, OSXMMEXCPT
        movl    %eax, %cr4
        movl    $0x1000, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       # EFER
        rdmsr
        orl     $0x100, %eax            # LME
        wrmsr
        movl    %cr0, %eax
        orl     $0x80000002, %eax       # PG, MP
        andl    $0xfffffffb, %eax       # no EM
        movl    %eax, %cr0
        ljmp    $0x18, $(long_mode - _start + 0x7c00)

speed32:
        movl    $50000000, %ecx
1:      decl    %ecx
        jnz     1b
        movb    $'M', %al
        movw    $0x3f8, %dx
        outb    %al, %dx
        movb    $0x10, %al
        outb    %al, $0xf4
1:      hlt
        jmp     1b

        .code64
long_mode:
        movb    $'L', %al
        outb    %al, %dx
        movl    $0x8000, %esi           # 4 KiB of work space, 64-byte aligned
        fxsave64 (%rsi)
        movq    %rsi, %xmm0
        pshufd  $0, %xmm0, %xmm1
        fxrstor64 (%rsi)
        movb    $'X', %al
        outb    %al, %dx

        movl    $1, %eax
        cpuid
        movl    %ecx, %edi              # kept: features of leaf 1
        movw    $0x3f8, %dx
        btl     $13, %edi
        jnc     2f
        xorl    %eax, %eax
        xorl    %edx, %edx
        xorl    %ebx, %ebx
        movl    $1, %ecx
        movl    $0x9000, %ebp
        lock cmpxchg16b (%rbp)
        movw    $0x3f8, %dx
        movb    $'C', %al
        outb    %al, %dx
2:      movl    $7, %eax
        xorl    %ecx, %ecx
        cpuid
        movw    $0x3f8, %dx
        btl     $8, %ebx
        jnc     3f
        movl    $3, %eax
        shlxq   %rax, %rsi, %rcx
        movb    $'B', %al
        outb    %al, %dx
3:      btl     $26, %edi
        jnc     4f
        movq    %cr4, %rax
        orl     $0x40000, %eax          # OSXSAVE
        movq    %rax, %cr4
        xorl    %ecx, %ecx
        xgetbv
        orl     $3, %eax                # x87, SSE
        xsetbv
        movl    $3, %eax
        xorl    %edx, %edx
        xsave64 (%rsi)
        xrstor64 (%rsi)
        movw    $0x3f8, %dx
        movb    $'S', %al
        outb    %al, %dx
4:      jmp     speed

        .balign 8
gdt:    .quad   0
        .quad   0x00cf9a000000ffff      # 08 code, 32 bit
        .quad   0x00cf92000000ffff      # 10 data
        .quad   0x00af9a000000ffff      # 18 code, 64 bit
gdt_pointer:
        .word   . - gdt - 1
        .long   gdt - _start + 0x7c00

speed:  movl    $50000000, %ecx
1:      decl    %ecx
        jnz     1b
        movb    $'M', %al
        outb    %al, %dx
        movb    $0x10, %al
        outb    %al, $0xf4
1:      hlt
        jmp     1b

        .org    510
        .word   0xaa55
